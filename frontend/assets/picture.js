/* The map as an image file, marks included; and unit names that open the unit's panel. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});

  const PRINT = 300 / 96; // pixels of a print at 300 dots an inch for one of the screen

  function save(address, name) {
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
  }

  async function picture(format) {
    const graph = MS.plot(), marks = document.getElementById("marks");
    if (!graph || !graph._fullLayout) return;
    const { width, height } = graph._fullLayout;
    const paper = getComputedStyle(document.body).backgroundColor;
    const name = `map-${window.location.pathname.split("/").filter(Boolean).join("-")}.${format}`;
    const layout = { ...graph.layout, paper_bgcolor: paper, plot_bgcolor: paper };
    const figure = await window.Plotly.toImage({ data: graph.data, layout }, { format: "svg", width, height });
    if (format === "svg") {
      const text = decodeURIComponent(figure.slice(figure.indexOf(",") + 1));
      const marksLayer = `<image width="${width}" height="${height}" href="${marks.toDataURL()}"/></svg>`;
      const whole = text.replace(/<\/svg>\s*$/, marksLayer);
      return save(URL.createObjectURL(new Blob([whole], { type: "image/svg+xml" })), name);
    }
    const image = new Image();
    image.src = figure;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [PRINT * width, PRINT * height].map(Math.round);
    const ink = canvas.getContext("2d");
    for (const layer of [image, marks]) ink.drawImage(layer, 0, 0, canvas.width, canvas.height);
    save(canvas.toDataURL("image/png"), name);
  }

  document.addEventListener("click", ({ target }) => {
    const button = target.closest && target.closest("[id^=picture-]");
    if (button) picture(button.id.replace("picture-", ""));
    const unit = target.closest && target.closest("button[data-unit]");
    if (unit)
      window.dash_clientside.set_props("focus", {
        data: { kind: unit.dataset.kind, unit: unit.dataset.unit.split(".").map(Number) },
      });
  });
})();
