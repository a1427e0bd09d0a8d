/* The dialog "Figure for a paper": title, size, preview, and the map as PNG, SVG or PDF. And unit names that open the
   unit's panel. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const SIZES = [["single", "Single column, 85 mm", 85], ["double", "Double column, 180 mm", 180], ["custom", "Custom width", null]];
  const [NARROWEST, WIDEST] = [60, 400]; // millimetres
  const WRITERS = {
    png: MS.figureAsPng,
    svg: (figure) => new Blob([MS.figureAsSvg(figure)], { type: "image/svg+xml" }),
    pdf: MS.figureAsPdf,
  };

  function save(blob, name) {
    const link = MS.make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  /* What the signs on the map mean: the tray's own text. */
  function legendOf(selection) {
    const units = document.getElementById("tray-off").textContent;
    return `${MS.treatmentText(selection) ? "changed" : "switched off"}: ${units}`;
  }

  const field = (label, control) => MS.make("label", { className: "paper-field" }, MS.make("span", {}, label), control);

  function controls(texts) {
    const title = MS.make("input", { type: "text", id: "paper-title", className: "upload-field", maxLength: 200, value: texts.title });
    const options = SIZES.map(([value, name]) => MS.make("option", { value }, name));
    const size = MS.make("select", { id: "paper-size", className: "upload-field" }, ...options);
    size.value = "double";
    const range = { type: "number", min: NARROWEST, max: WIDEST, value: 120 };
    const custom = MS.make("input", { ...range, id: "paper-width", className: "upload-field" });
    return { title, size, custom };
  }

  function widthOf({ size, custom }) {
    const chosen = SIZES.find(([value]) => value === size.value)[2];
    const width = chosen || Number(custom.value);
    if (!(width >= NARROWEST && width <= WIDEST))
      throw new Error(`The width '${custom.value}' is not a number from ${NARROWEST} to ${WIDEST} mm.`);
    return width;
  }

  function figureOf(texts, inputs) {
    const graph = MS.plot(), selection = MS.marked();
    if (!graph || !graph._fullLayout || !selection) throw new Error("The map is not drawn yet. Try again in a moment.");
    const title = inputs.title.value.trim();
    return MS.paperFigure({ graph, selection, title, unit: texts.colour, legend: legendOf(selection), width: widthOf(inputs) });
  }

  function open({ dataset: texts }) {
    const inputs = controls(texts);
    const customField = field("Width, mm", inputs.custom);
    const preview = MS.make("img", { className: "paper-preview", alt: "Preview of the figure" });
    const about = MS.make("div", { className: "quiet", id: "paper-about" });
    const problem = MS.make("div", { className: "problem", role: "alert" });
    const buttons = Object.keys(WRITERS).map((format) =>
      MS.make("button", { type: "button", id: `picture-${format}`, className: "upload-button" }, format.toUpperCase())
    );
    const close = MS.make("button", { type: "button", className: "plain-button", onclick: () => dialog.close() }, "Close");
    const heading = MS.make("h2", { id: "paper-heading" }, "Figure for a paper");
    const dialog = MS.make(
      "dialog", { className: "paper-dialog" },
      MS.make("div", { className: "card-head" }, heading, close),
      field("Title", inputs.title), field("Size", inputs.size), customField,
      preview, about, problem, MS.make("div", { className: "link-row" }, ...buttons)
    );
    dialog.setAttribute("aria-labelledby", "paper-heading");

    function show() {
      customField.hidden = inputs.size.value !== "custom";
      problem.textContent = "";
      try {
        const figure = figureOf(texts, inputs);
        preview.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(MS.figureAsSvg(figure))}`;
        about.textContent = `${figure.width} x ${figure.height} mm. PNG: 300 dots per inch. SVG and PDF: vector graphics.`;
      } catch (error) {
        problem.textContent = error.message;
      }
    }

    async function write(button) {
      const format = button.id.replace("picture-", "");
      problem.textContent = "";
      button.disabled = true;
      try {
        save(await WRITERS[format](figureOf(texts, inputs)), `${texts.name}.${format}`);
      } catch (error) {
        problem.textContent = error.message;
      } finally {
        button.disabled = false;
      }
    }

    for (const button of buttons) button.addEventListener("click", () => write(button));
    dialog.addEventListener("input", show);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    show();
  }

  document.addEventListener("click", ({ target }) => {
    const opener = target.closest && target.closest("#paper-open");
    if (opener) open(opener);
    const unit = target.closest && target.closest("button[data-unit]");
    if (unit)
      window.dash_clientside.set_props("focus", {
        data: { kind: unit.dataset.kind, unit: unit.dataset.unit.split(".").map(Number) },
      });
  });
})();
