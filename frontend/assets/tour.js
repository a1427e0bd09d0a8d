/* Three marks on the first map that somebody opens. Kept in the browser once read or skipped. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const DONE = "modelshapley-tour";
  const STEPS = [
    ["#map-frame", "Each cell is a neuron, head or layer", "The stronger its colour, the more the task depends on it. Click cells or drag a box to switch units off."],
    [".tray", "The accuracy without them", "It is measured at once on test examples, beside the intact model on the same ones."],
    ["#trust", "How far to trust this map", "The ranking was compared with random ones. “See the evidence” shows the measurements."],
  ];

  const seen = () => {
    try {
      return localStorage.getItem(DONE);
    } catch {
      return true; // no storage: better never than on every page
    }
  };

  function end(box) {
    localStorage.setItem(DONE, "read");
    box.remove();
    document.querySelector(".tour-target")?.classList.remove("tour-target");
  }

  function show(step) {
    const [selector, title, text] = STEPS[step];
    const target = document.querySelector(selector);
    document.querySelector(".tour")?.remove();
    document.querySelector(".tour-target")?.classList.remove("tour-target");
    if (!target) return;
    const last = step === STEPS.length - 1;
    const next = MS.make("button", { type: "button", className: "upload-button" }, last ? "Done" : "Next");
    const skip = MS.make("button", { type: "button", className: "plain-button" }, "Skip the tour");
    const help = MS.make("a", { href: `${MS.root()}reading` }, "How to read this map");
    const box = MS.make("div", { className: "tour", role: "dialog", ariaLabel: `Tour, ${step + 1} of ${STEPS.length}` },
      MS.make("b", {}, title), MS.make("p", {}, text),
      MS.make("div", { className: "one-line" }, next, last ? help : skip, MS.make("span", { className: "quiet" }, `${step + 1} of ${STEPS.length}`)));
    next.onclick = () => (last ? end(box) : show(step + 1));
    skip.onclick = () => end(box);
    box.onkeydown = (event) => event.key === "Escape" && end(box);
    document.body.append(box);
    target.classList.add("tour-target");
    next.focus({ preventScroll: true });
  }

  /* Called when a map is drawn. */
  MS.tour = function () {
    if (!seen() && !document.querySelector(".tour")) show(0);
  };
})();
