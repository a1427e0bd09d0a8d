/* The map's figure: unpacking its numbers, zooming into a wide panel, mouse and keyboard. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const ARRAYS = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array };
  const set = (id, data) => window.dash_clientside.set_props(id, { data });

  /* Unpack an array that frontend/figures/heatmaps.py has packed into a list of typed rows. */
  function rowsOf({ type, data, columns }) {
    const text = atob(data), bytes = new Uint8Array(text.length);
    const size = ARRAYS[type].BYTES_PER_ELEMENT;
    for (let plane = 0, i = 0; plane < size; plane++)
      for (let at = plane; at < bytes.length; at += size) bytes[at] = text.charCodeAt(i++);
    const all = new ARRAYS[type](bytes.buffer);
    const rows = [];
    for (let at = 0; at < all.length; at += +columns) rows.push(all.subarray(at, at + +columns));
    return rows;
  }

  /* A trace for Plotly. customdata of a cell: unit, rank, score, error; of linear maps: rows, name, score, error. */
  function cellsOf({ z, hover, names, ...rest }) {
    const colours = rowsOf(z);
    const [best, rank, scores, errors] = hover.map((part) => (part ? rowsOf(part) : colours));
    const values = (row, c) => [best[row][c], names ? names[c] : rank[row][c], scores[row][c], errors[row][c]];
    const customdata = best.map((cells, row) => Array.from(cells, (_, c) => values(row, c)));
    return { ...rest, z: colours.map((row) => Array.from(row, (v) => (Number.isNaN(v) ? null : v))), customdata };
  }

  function panelOf(panel) {
    if (!panel.order) return panel;
    const order = rowsOf(panel.order);
    const places = order.map((row) => {
      const places = new Uint32Array(row.length);
      row.forEach((unit, place) => (places[unit] = place));
      return places;
    });
    return { ...panel, order, places };
  }

  /* A figure with its packed traces unpacked; other traces pass through. */
  MS.unpacked = function ({ data, layout }) {
    const meta = layout.meta && layout.meta.panels && { ...layout.meta, panels: layout.meta.panels.map(panelOf) };
    return {
      data: data.map((trace) => (trace.hover ? cellsOf(trace) : trace)),
      layout: meta ? { ...layout, meta } : layout,
    };
  };

  MS.meta = () => {
    const graph = MS.plot();
    return (graph && graph._fullLayout && graph._fullLayout.meta) || null;
  };
  const axisOf = (panel) => panel.axis.replace("x", "xaxis");

  /* -- zoom: when a panel's axis moves, the cells of its new range are fetched ----------------------------- */

  let zoomed = null; // {kind, range, start, stop} of the newest request
  let arrived = true; // whether its cells are drawn
  const COARSE_AFTER_MS = 120; // exact cells that take longer than this are preceded by the coarse ones

  function windowOf(panel, [a, b]) {
    const start = Math.max(0, Math.floor(a + 0.5)), stop = Math.min(panel.width, Math.ceil(b + 0.5));
    return { kind: panel.kind, range: [a, b], start, stop };
  }

  /* The range of a panel, or the one it is about to have. */
  const rangeOf = (graph, panel) =>
    zoomed && !arrived && zoomed.kind === panel.kind ? zoomed.range : graph._fullLayout[axisOf(panel)].range;

  /* Move a panel to a range and draw it once, with its exact cells. If these are slow, draw the coarse cells first.
     An answer that a newer request has overtaken is dropped. */
  async function goTo(graph, panel, range) {
    const request = (zoomed = windowOf(panel, range));
    arrived = false;
    const to = { [`${axisOf(panel)}.range`]: range };
    const coarse = setTimeout(() => window.Plotly.relayout(graph, to), COARSE_AFTER_MS);
    const answer = await MS.zoomedCells(request);
    clearTimeout(coarse);
    if (zoomed !== request || !graph.isConnected) return;
    arrived = true;
    if (!answer) return window.Plotly.relayout(graph, to);
    const meta = MS.meta();
    const index = meta.panels.findIndex((p) => p.kind === panel.kind);
    const { z, customdata, x0, dx } = cellsOf(answer.cells);
    const panels = meta.panels.map((p, i) => (i === index ? { ...p, edges: answer.edges } : p));
    cursor = null;
    const cells = { z: [z], customdata: [customdata], x0: [x0], dx: [dx] };
    await window.Plotly.update(graph, cells, { ...to, meta: { ...meta, panels } }, [2 * index]);
    graph.dataset.window = `${panel.kind}:${request.start}-${request.stop}`;
  }

  /* Fetch the cells of a range that somebody has dragged an axis to. */
  function onRelayout(graph, change) {
    const keys = Object.keys(change);
    for (const panel of MS.meta().panels) {
      if (!panel.zoomable || !keys.some((key) => key.startsWith(axisOf(panel) + "."))) continue;
      const range = [...graph._fullLayout[axisOf(panel)].range];
      const reached = zoomed && zoomed.kind === panel.kind && String(zoomed.range) === String(range);
      if (!reached) goTo(graph, panel, range);
    }
  }

  /* Return to the zoomed range after the map has been redrawn (another method, another theme). */
  function restoreZoom(graph) {
    const panel = zoomed && MS.meta().panels.find((p) => p.kind === zoomed.kind);
    if (panel) goTo(graph, panel, zoomed.range);
  }

  function zoomTo(graph, panel, start, stop) {
    const wide = Math.min(panel.width, Math.max(20, stop - start));
    const from = Math.min(Math.max(-0.5, start), panel.width - 0.5 - wide);
    goTo(graph, panel, [from, from + wide]);
  }

  /* factor: below 1 zooms in. about: the place that stays where it is; the middle by default. */
  function zoomBy(graph, panel, factor, about) {
    const [a, b] = rangeOf(graph, panel);
    const fixed = about === undefined ? (a + b) / 2 : about;
    zoomTo(graph, panel, fixed - (fixed - a) * factor, fixed + (b - fixed) * factor);
  }

  MS.zoom = function (what) {
    const graph = MS.plot(), meta = MS.meta();
    const panel = meta && meta.panels.find((p) => p.zoomable);
    if (!panel) return;
    const [a, b] = rangeOf(graph, panel);
    if (what === "all") return zoomTo(graph, panel, -0.5, panel.width - 0.5);
    if (what === "left" || what === "right") {
      const by = (b - a) * (what === "left" ? -0.5 : 0.5);
      return zoomTo(graph, panel, a + by, b + by);
    }
    zoomBy(graph, panel, what === "in" ? 0.5 : 2);
  };

  /* Ctrl (or ⌘) and the wheel zoom, Shift and the wheel pan; the wheel alone scrolls the page. */
  function wheel(event) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    const graph = MS.plot(), meta = MS.meta();
    const box = graph.getBoundingClientRect();
    const x = event.clientX - box.left;
    for (const panel of (meta && meta.panels) || []) {
      const axis = graph._fullLayout[axisOf(panel)];
      if (!panel.zoomable || x < axis._offset || x > axis._offset + axis._length) continue;
      event.preventDefault();
      const turn = event.deltaY || event.deltaX;
      if (!event.shiftKey) return zoomBy(graph, panel, turn > 0 ? 1.35 : 1 / 1.35, axis.p2d(x - axis._offset));
      const [a, b] = rangeOf(graph, panel);
      return zoomTo(graph, panel, a + Math.sign(turn) * (b - a) * 0.15, b + Math.sign(turn) * (b - a) * 0.15);
    }
  }

  /* -- the keyboard --------------------------------------------------------------------------------------- */

  let cursor = null;
  MS.cursorIn = (panel) => (cursor && cursor.kind === panel.kind ? cursor : null);
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));

  function place(panel, row, column) {
    cursor = { kind: panel.kind, row: within(row, panel.layers), column: within(column, panel.edges.length - 1) };
    MS.paint();
    const text = document.getElementById("cursor-text");
    if (text) text.textContent = describeCell(panel);
  }

  /* The unit, rank, score and error of a cell; of linear maps: rows, name, score, error. */
  MS.cell = (panel, row, column) => MS.plot().data[2 * MS.meta().panels.indexOf(panel)].customdata[row][column];
  const cellAt = (panel) => MS.cell(panel, cursor.row, cursor.column);

  function describeCell(panel) {
    const [best, rank, score] = cellAt(panel);
    const off = MS.isOff(panel, cursor) ? ", off" : "";
    if (panel.spans) return `${rank} of layer ${cursor.row}, mean of ${best} rows ${score.toPrecision(3)}${off}`;
    if (score === undefined || Number.isNaN(score)) return `no ${panel.kind} at this position`;
    const name = panel.kind === "layer" ? `layer ${cursor.row}` : `${panel.kind} ${cursor.row}.${best}`;
    const [start, stop] = MS.spanOf(panel, cursor.row, cursor.column);
    const more = stop - start > 1 ? `, the highest of ${stop - start}` : "";
    return `${name}, score ${score.toPrecision(3)}, rank ${rank}${more}${off}`;
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const panels = (MS.meta() || { panels: [] }).panels;
    if (!panels.length) return;
    const at = cursor ? panels.findIndex((p) => p.kind === cursor.kind) : -1;
    const panel = panels[Math.max(0, at)];
    if (event.key in STEPS || event.key === "Home" || event.key === "End") {
      const [down, right] = STEPS[event.key] || [0, event.key === "Home" ? -1e9 : 1e9];
      at < 0 ? place(panels[Math.min(1, panels.length - 1)], 0, 0) : place(panel, cursor.row + down, cursor.column + right);
    } else if (event.key === "PageDown" || event.key === "PageUp") {
      const next = panels[within(at + (event.key === "PageDown" ? 1 : -1), panels.length)];
      place(next, cursor ? cursor.row : 0, 0);
    } else if (event.key === " " && at >= 0) {
      touch(panel.kind, MS.unitsOfCell(panel, cursor.row, cursor.column));
      place(panel, cursor.row, cursor.column);
    } else if (event.key === "Enter" && at >= 0 && !panel.spans) {
      MS.focusOn(panel, cursor.row, cellAt(panel)[0]);
    } else if (event.key === "+" || event.key === "-") {
      MS.zoom(event.key === "+" ? "in" : "out");
    } else return;
    event.preventDefault();
  }

  MS.focusOn = (panel, row, index) => set("focus", { kind: panel.kind, unit: panel.kind === "layer" ? [row] : [row, index] });

  /* -- the mouse ----------------------------------------------------------------------------------------- */

  /* Toggle units, or, with `add`, switch them off; the marks are drawn before the server knows. Dash is given the whole
     selection: of several clicks before its next callback it passes only the last on. */
  function touch(kind, units, add = false) {
    if (!units.length) return;
    set("touched", MS.foresee((selection) => (add ? MS.add : MS.toggle)(selection, kind, units)));
  }

  MS.touch = touch;

  /* The panel and cell under the pointer; null outside the cells, and where there is no unit. The points that Plotly
     (4.1) reports for a click are those of its last hover, which may be of the cell before. */
  function cellUnder(graph, event) {
    const box = graph.getBoundingClientRect();
    for (const panel of MS.meta().panels) {
      const x = graph._fullLayout[axisOf(panel)], y = graph._fullLayout[panel.axis.replace("x", "yaxis")];
      const across = event.clientX - box.left - x._offset, down = event.clientY - box.top - y._offset;
      if (across < 0 || across > x._length || down < 0 || down > y._length) continue;
      const row = within(Math.round(y.p2d(down)), panel.layers);
      const column = within(MS.columnAt(panel, x.p2d(across)), panel.edges.length - 1);
      return MS.unitsOfCell(panel, row, column).length ? { panel, row, column } : null;
    }
    return null;
  }

  function clicked(graph, event) {
    const cell = cellUnder(graph, event);
    if (!cell) return;
    const { panel, row, column } = cell;
    touch(panel.kind, MS.unitsOfCell(panel, row, column));
    if (!panel.spans) MS.focusOn(panel, row, MS.cell(panel, row, column)[0]);
  }

  function boxed(graph, box) {
    const boxedUnits = box && MS.unitsOfBox(box, MS.meta());
    if (!boxedUnits) return;
    touch(boxedUnits.kind, boxedUnits.units, true);
    setTimeout(() => window.Plotly.relayout(graph, { selections: [] }), 0); // remove the box's outline
  }

  const CONFIG = {
    displaylogo: false,
    responsive: true,
    showSendToCloud: false, // plotly.js shows "Share chart..." by default, which uploads the figure
    modeBarButtonsToRemove: ["lasso2d", "autoScale2d", "toImage"],
  };

  function listen(graph) {
    graph.on("plotly_afterplot", MS.paint);
    graph.on("plotly_relayouting", MS.clearMarks);
    graph.on("plotly_relayout", (change) => onRelayout(graph, change));
    graph.on("plotly_click", ({ event }) => clicked(graph, event));
    graph.on("plotly_selected", (box) => boxed(graph, box));
    graph.addEventListener("wheel", wheel, { passive: false });
    const frame = graph.closest(".map-frame");
    frame.addEventListener("keydown", key);
    frame.addEventListener("blur", () => { cursor = null; MS.paint(); });
  }

  /* Draw or redraw the map, once plotly.js and the map's place are there; of several figures the newest. */
  let newest = null;
  MS.render = async function (figure) {
    newest = figure;
    const Plotly = await window.Plotly;
    if (newest !== figure) return;
    const graph = document.querySelector("#map > div");
    if (!graph) {
      setTimeout(() => newest === figure && MS.render(figure), 30);
      return;
    }
    const fresh = !graph._fullLayout;
    cursor = null;
    if (fresh) zoomed = null;
    Plotly.react(graph, figure.data, figure.layout, CONFIG).then(() => (fresh ? MS.paint() : restoreZoom(graph)));
    if (fresh) listen(graph);
  };

  /* The key u undoes, except in text fields. */
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable]");
    const undo = document.getElementById("undo");
    if (event.key !== "u" || typing || event.ctrlKey || event.metaKey || event.altKey || !undo) return;
    if (!undo.disabled) undo.click();
  });
})();
