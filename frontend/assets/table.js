/* The table of ranked units, with a switch for each. Plain elements: as Dash components they would be five hundred, all
   of which Dash checks at every change of the page. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const TITLES = [
    ["Rank", "number"], ["Unit"], ["Score ± standard error", "number"], ["Share", "number"], ["Score as a bar", "", "unseen"], ["Off"],
  ];
  const numbers = (unit) => unit.split(".").map(Number);

  function row(kind, { unit, name, rank, score, share, bar }) {
    let column = 0;
    const cell = (className, inside) => MS.make("td", { className, dataset: { label: TITLES[column++][0] } }, inside);
    const open = MS.make("button", { type: "button", className: "plain-button", title: "Show details", dataset: { kind, unit } }, name);
    const box = MS.make("input", { type: "checkbox", className: "off-box", ariaLabel: `Switch ${name} off`, dataset: { off: unit } });
    const measure = MS.make("div", { className: "share-bar" });
    measure.style.width = `${bar}px`;
    return MS.make(
      "tr", {}, cell("number", rank), cell("", open), cell("number", score), cell("number", share), cell("", measure), cell("", box)
    );
  }

  /* top: {kind, rows} from frontend.pages.map.top.table. */
  MS.table = function (top, selection) {
    const place = document.getElementById("top-units");
    if (!place) return;
    const titles = TITLES.map(([title, className = "", shown = ""]) =>
      MS.make("th", { className, scope: "col" }, MS.make("span", { className: shown }, title))
    );
    const head = MS.make("thead", {}, MS.make("tr", {}, ...titles));
    const body = MS.make("tbody", { dataset: { kind: top.kind } }, ...top.rows.map((unit) => row(top.kind, unit)));
    place.replaceChildren(...(top.rows.length ? [MS.make("table", { className: "units-table cards" }, head, body)] : []));
    MS.tick(selection);
  };

  /* Set every switch to what the selection says. */
  MS.tick = function (selection) {
    const body = document.querySelector("#top-units tbody");
    if (!body) return;
    const off = new Set((selection[body.dataset.kind] || []).map((unit) => unit.join(".")));
    for (const box of body.querySelectorAll("input")) box.checked = off.has(box.dataset.off);
  };

  document.addEventListener("change", ({ target }) => {
    const body = target.dataset && target.dataset.off && target.closest("#top-units tbody");
    if (body) MS.touch(body.dataset.kind, [numbers(target.dataset.off)]);
  });
})();
