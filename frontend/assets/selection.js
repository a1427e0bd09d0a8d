/* The selection on the page: units, and what is done to them. It changes in the same frame, without the server. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const KINDS = ["neuron", "head", "layer", "expert", "row"];
  const NARROW = 600; // pixels
  const OFF = { how: "scale", value: 0 };
  /* treatment: what is done to all selected units (modelshapley.units.Treatment). */
  const empty = () => ({ ...Object.fromEntries(KINDS.map((kind) => [kind, []])), treatment: OFF });
  const keyOf = (unit) => unit.join(".");

  function toSets(selection) {
    const sets = {};
    for (const kind of KINDS) sets[kind] = new Map((selection[kind] || []).map((u) => [keyOf(u), u]));
    return sets;
  }

  function fromSets(sets, treatment) {
    const selection = { ...empty(), treatment };
    const order = (a, b) => a[0] - b[0] || (a[1] || 0) - (b[1] || 0);
    for (const kind of KINDS) selection[kind] = [...sets[kind].values()].sort(order);
    return selection;
  }

  /* The places of a cell, start included, stop excluded. Layers may have cells of their own, or fewer units than the
     widest layer. A place is a unit's index, or, in layers sorted by score, its position in that order. */
  function spanOf(panel, row, column) {
    const [start, stop] = panel.spans ? panel.spans[row][column] : [panel.edges[column], panel.edges[column + 1]];
    return [start, panel.counts ? Math.max(start, Math.min(stop, panel.counts[row])) : stop];
  }

  /* The column in which a unit is drawn; -1 outside the visible range. */
  function columnOf(panel, row, index) {
    if (panel.spans) return panel.spans[row].findIndex(([start, stop]) => start <= index && index < stop);
    const place = panel.places ? panel.places[row][index] : index;
    return place < panel.edges[panel.edges.length - 1] ? columnAt(panel, place) : -1;
  }

  /* The column at a position of the horizontal axis; below 0 or beyond the last one outside the visible range. */
  const columnAt = (panel, x) => Math.floor((x + 0.5 - panel.edges[0]) / (panel.edges[1] - panel.edges[0]));

  function unitsOfCell(panel, row, column) {
    if (panel.kind === "layer") return [[row]];
    const units = [];
    const [start, stop] = spanOf(panel, row, column);
    for (let i = start; i < stop; i++) units.push([row, panel.order ? panel.order[row][i] : i]);
    return units;
  }

  /* Switch units that are all off on again, and any others off. */
  function toggle(selection, kind, units) {
    const sets = toSets(selection);
    const off = units.length > 0 && units.every((u) => sets[kind].has(keyOf(u)));
    for (const u of units) off ? sets[kind].delete(keyOf(u)) : sets[kind].set(keyOf(u), u);
    return fromSets(sets, selection.treatment);
  }

  function panelOf(meta, axis) {
    return meta.panels.find((p) => p.axis === axis);
  }

  /* Switch units off, whatever they were. */
  function add(selection, kind, units) {
    const sets = toSets(selection);
    for (const u of units) sets[kind].set(keyOf(u), u);
    return fromSets(sets, selection.treatment);
  }

  /* {kind, units} inside a box that Plotly reports; null outside the panels. */
  function unitsOfBox(box, meta) {
    const range = box.range || {};
    const axis = Object.keys(range).find((name) => name.startsWith("x"));
    const panel = axis && panelOf(meta, axis);
    if (!panel) return null;
    const [x0, x1] = [...range[axis]].sort((a, b) => a - b);
    const [y0, y1] = [...range[axis.replace("x", "y")]].sort((a, b) => a - b);
    const units = [];
    const columns = panel.edges.length - 1;
    for (let row = Math.max(0, Math.round(y0)); row <= Math.min(panel.layers - 1, Math.round(y1)); row++)
      for (let column = Math.max(0, columnAt(panel, x0)); column <= Math.min(columns - 1, columnAt(panel, x1)); column++)
        units.push(...unitsOfCell(panel, row, column));
    return { kind: panel.kind, units };
  }

  /* A figure's layout with text, lines and colour scales of the page's theme. */
  function themed(figure) {
    const dark = document.documentElement.dataset.mantineColorScheme === "dark";
    const ink = dark ? "#d5d9e0" : "#2a2f3a";
    const family = getComputedStyle(document.body).fontFamily;
    const layout = { ...figure.layout, font: { ...figure.layout.font, color: ink, family } };
    const scale = figure.layout.meta && figure.layout.meta.scales && figure.layout.meta.scales[dark ? "dark" : "light"];
    if (!scale) {
      const line = dark ? "#3a404b" : "#dfe3ea";
      for (const axis of ["xaxis", "yaxis"]) layout[axis] = { ...layout[axis], gridcolor: line, zerolinecolor: ink };
    }
    const colours = scale && scale.map((c, i) => [i / (scale.length - 1), c]);
    layout.hoverlabel = {
      ...layout.hoverlabel,
      bgcolor: dark ? "#2b303a" : "#ffffff",
      bordercolor: dark ? "#59616f" : "#b8bfca",
      font: { color: ink, size: 13, family },
    };
    for (const name of Object.keys(layout))
      if (name.startsWith("coloraxis")) layout[name] = { ...layout[name], colorscale: colours };
    return window.innerWidth < NARROW ? narrowed(layout) : layout;
  }

  /* Room for a telephone: short titles of panels, and no numbers under the shortest colour bars. */
  function narrowed(layout) {
    const annotations = (layout.annotations || []).map((a) => ({ ...a, text: a.text.replace(/ {2}\(.*\)/, "") }));
    for (const name of Object.keys(layout)) {
      const bar = name.startsWith("coloraxis") && layout[name].colorbar;
      if (bar && bar.len < 0.12) layout[name] = { ...layout[name], colorbar: { ...bar, showticklabels: false } };
    }
    return { ...layout, annotations };
  }

  function draw(figure) {
    if (!figure || !figure.data) return window.dash_clientside.no_update;
    return MS.unpacked({ data: figure.data, layout: themed(figure) });
  }

  /* The units as frontend/address.py writes them. */
  function text(selection) {
    const groups = [];
    for (const kind of KINDS) {
      const spans = [];
      for (const unit of selection[kind] || []) {
        const last = spans[spans.length - 1], end = unit[unit.length - 1];
        const same = last && (unit.length === 1 || last.unit[0] === unit[0]);
        if (same && last.end === end - 1) last.end = end;
        else spans.push({ unit, end });
      }
      if (spans.length) {
        const ranges = spans.map(({ unit, end }) =>
          unit.join(".") + (end > unit[unit.length - 1] ? "-" + end : ""));
        groups.push(kind + ":" + ranges.join(","));
      }
    }
    return groups.join(";");
  }

  /* The treatment as the address has it; empty where units are switched off. */
  function treatmentText(selection) {
    const { how, value } = selection.treatment || OFF;
    if (how === "scale" && value === 0) return "";
    return how === "mean" ? how : `${how}:${value}`;
  }

  /* The treatment as text: "times 0.5". */
  function treatmentDescription(selection) {
    const { how, value } = selection.treatment || OFF;
    if (how === "mean") return "at their mean";
    if (how === "scale") return value === 0 ? "off" : `times ${value}`;
    return `${value >= 0 ? "plus" : "minus"} ${Math.abs(value)} standard deviations`;
  }

  const same = (a, b) => text(a) === text(b) && treatmentText(a) === treatmentText(b);
  const count = (selection) => KINDS.reduce((n, kind) => n + (selection[kind] || []).length, 0);
  window.modelShapley = Object.assign(window.modelShapley || {}, {
    empty, toggle, add, unitsOfBox, draw, text, treatmentText, treatmentDescription, same, count, spanOf, columnOf,
    columnAt, unitsOfCell, KINDS, OFF,
  });
})();
