/* The map as a figure for a paper: shapes in millimetres on a white ground, in the colours of the light theme.
   assets/paper-formats.js writes them as SVG, PDF or PNG. Cells are shapes rather than pixels, so that they are sharp
   at any size.

   Shapes: {rect, fill}, {cells: [rect, ...], fill}, {line: [x, y, x, y], stroke, width}, {ring: [x, y, radius], stroke,
   width}, {text, at: [x, y], size (points), bold, anchor (start, middle, end), turned}. rect: [x, y, width, height]. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const OFF = "#e8347f", PAPER = "#ffffff";
  const TITLE = 9, LABEL = 7, SMALL = 6.5; // points
  const MM_A_POINT = 25.4 / 72, LINE = 1.3; // millimetres; height of a line, in sizes
  const LEFT = 9.5, EDGE = 2.5, GAP_BELOW = 2; // millimetres
  const CROSS_FROM = 1.7; // millimetres; smaller cells are struck through
  const LEVELS = 255; // of the colour scale, so that equal cells join into one shape

  const ink = document.createElement("canvas").getContext("2d");
  const heightOf = (size) => size * MM_A_POINT * LINE;

  /* The width of a text in millimetres. */
  function widthOf(text, size, bold) {
    ink.font = `${bold ? 600 : 400} 100px InterVariable, sans-serif`;
    return (ink.measureText(text).width / 100) * size * MM_A_POINT;
  }

  function wrapped(text, size, bold, width) {
    const lines = [];
    for (const word of text.split(/\s+/).filter(Boolean)) {
      const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
      if (lines.length && widthOf(longer, size, bold) <= width) lines[lines.length - 1] = longer;
      else lines.push(...pieces(word, size, bold, width));
    }
    return lines;
  }

  /* A word in parts that fit. */
  function pieces(word, size, bold, width) {
    const parts = [""];
    for (const letter of word) {
      if (parts[parts.length - 1] && widthOf(parts[parts.length - 1] + letter, size, bold) > width) parts.push("");
      parts[parts.length - 1] += letter;
    }
    return parts;
  }

  /* Lines of text from `top` down; returns where they end. */
  function paragraph(shapes, text, { left, top, width, size, bold = false }) {
    for (const line of wrapped(text, size, bold, width)) {
      shapes.push({ text: line, at: [left, top + size * MM_A_POINT], size, bold, anchor: "start" });
      top += heightOf(size);
    }
    return top;
  }

  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

  /* A function from 0 to 1 to a colour of a scale of equidistant colours. */
  function scaleOf(colours) {
    return (share) => {
      const place = Math.max(0, Math.min(1, share)) * (colours.length - 1);
      const below = Math.min(colours.length - 2, Math.floor(place));
      const [a, b] = [colours[below], colours[below + 1]].map(channels);
      const mixed = a.map((value, i) => Math.round(value + (b[i] - value) * (place - below)));
      return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    };
  }

  /* Where a panel's columns and rows are: `left(c)` is the left edge of column c, in millimetres. */
  function placesOf(panel, axis, box) {
    const [from, to] = axis.range;
    const x = (value) => box.left + ((value - from) / (to - from)) * box.width;
    const clip = (value) => Math.max(box.left, Math.min(box.left + box.width, value));
    return {
      left: (column) => clip(x(panel.edges[column] - 0.5)),
      x,
      top: (row) => box.top + row * box.row,
    };
  }

  function drawCells(shapes, panel, trace, colours, { cmin, cmax }, places, box) {
    const groups = new Map();
    const joined = (box.width / panel.edges.length) < 1; // narrow cells join; wide ones have a gap around them
    const gap = joined ? 0 : 0.12;
    const overlap = joined ? 0.02 : 0; // hides the seams that viewers draw between neighbours
    trace.z.forEach((row, layer) => {
      let last = null;
      row.forEach((value, column) => {
        const [left, right] = [places.left(column), places.left(column + 1)];
        if (value === null || Number.isNaN(value) || right <= left) return (last = null);
        const level = Math.round((LEVELS * (value - cmin)) / (cmax - cmin || 1));
        const key = Math.max(0, Math.min(LEVELS, level));
        if (joined && last && last.key === key) return (last.rect[2] = right - last.rect[0] + overlap);
        const rowGap = box.row > 1 ? 0.12 : 0;
        const rect = [left, places.top(layer), right - left - gap + overlap, box.row - rowGap];
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(rect);
        last = { key, rect };
      });
    });
    for (const [key, cells] of groups) shapes.push({ cells, fill: colours(key / LEVELS) });
  }

  /* The marks of assets/marks.js as shapes; returns which signs they use. */
  function drawMarks(shapes, panel, selection, places, box) {
    const treated = MS.treatmentText(selection);
    const used = new Set(), strikes = [];
    for (const cell of MS.cells(selection, panel)) {
      const [left, right] = [places.left(cell.column), places.left(cell.column + 1)];
      if (right <= left) continue;
      const width = right - left, centre = (left + right) / 2, middle = places.top(cell.row) + box.row / 2;
      if (Math.min(width, box.row) >= CROSS_FROM) {
        sign(shapes, treated, centre, middle, Math.min(1.6, 0.28 * Math.min(width, box.row)));
        used.add("cross");
        continue;
      }
      const all = cell.off === cell.of;
      if (all && !treated) shapes.push({ rect: [left, places.top(cell.row), width, box.row], fill: PAPER });
      const thick = Math.min(box.row / 2, all ? 0.6 : 0.2);
      strikes.push([left, middle - thick / 2, Math.max(width, 0.25), thick]);
      used.add("strike");
    }
    for (const rect of strikes) shapes.push({ rect, fill: OFF }); // above what is blanked around them
    return used;
  }

  /* A cross for what is off, a ring for another intervention, with a white rim. */
  function sign(shapes, treated, x, y, arm) {
    for (const [stroke, width] of [[PAPER, 0.9], [OFF, 0.45]]) {
      if (treated) shapes.push({ ring: [x, y, arm], stroke, width });
      else
        for (const up of [-1, 1])
          shapes.push({ line: [x - arm, y - up * arm, x + arm, y + up * arm], stroke, width });
    }
  }

  /* Ticks of a panel's axis as [[value, text], ...], so many that they fit. */
  function ticksOf(axis, width) {
    const [from, to] = axis.range;
    const given = axis.tickvals;
    if (given && given.length) {
      const named = given.some((_, i) => Number.isNaN(Number(axis.ticktext[i])));
      const ticks = given.map((value, i) => [value, axis.ticktext[i]]);
      if (named) return ticks;
      const every = Math.max(1, Math.ceil((ticks.length * (widthOf(ticks[ticks.length - 1][1], SMALL) + 1)) / width));
      return ticks.filter((_, i) => i % every === 0);
    }
    if (given) return [];
    const most = Math.max(1, Math.floor(width / 11));
    const step = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6].map((k) => n * 10 ** k)).sort((a, b) => a - b)
      .find((size) => (to - from) / size <= most);
    const first = Math.ceil(Math.max(0, from) / step) * step;
    return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, i) => {
      const value = first + i * step;
      return [value, value.toLocaleString("en")];
    });
  }

  function drawColumns(shapes, axis, places, box) {
    const ticks = ticksOf(axis, box.width);
    const room = box.width / Math.max(1, ticks.length);
    const turned = ticks.length > 1 && ticks.some(([, text]) => widthOf(text, SMALL) > room);
    const top = box.top + box.height;
    for (const [value, text] of ticks) {
      const x = places.x(value);
      if (turned) shapes.push({ text, at: [x + 0.8, top + 1], size: SMALL, anchor: "end", turned });
      else shapes.push({ text, at: [x, top + 2.9], size: SMALL, anchor: "middle" });
    }
    return turned ? 1 + Math.max(...ticks.map(([, text]) => widthOf(text, SMALL))) : 3;
  }

  function drawRows(shapes, layers, box) {
    const step = [1, 2, 5, 10, 20, 50].find((size) => size * box.row >= 2.7) || 100;
    for (let layer = 0; layer < layers; layer += step) {
      const y = box.top + (layer + 0.5) * box.row + 0.8;
      shapes.push({ text: String(layer), at: [LEFT - 1, y], size: SMALL, anchor: "end" });
    }
    shapes.push({ text: "layer", at: [EDGE + 1, box.top + box.height / 2], size: LABEL, anchor: "middle", turned: true });
  }

  /* A colour bar with the numbers at its ends, and the middle one where there is room. */
  function drawBar(shapes, colours, { colorbar }, { left, top, width }) {
    const steps = 48;
    for (let i = 0; i < steps; i++) // each reaches to the end, so that no seams show
      shapes.push({ rect: [left + (i * width) / steps, top, width * (1 - i / steps), 1.8], fill: colours((i + 0.5) / steps) });
    const texts = colorbar.ticktext, last = texts[texts.length - 1];
    const y = top + 1.8 + 2.6;
    const say = (text, x, anchor) => shapes.push({ text, at: [x, y], size: SMALL, anchor });
    const room = (shown) => shown.reduce((sum, text) => sum + widthOf(text, SMALL) + 1, 0) <= width + 3;
    if (texts.length === 3 && !room([texts[0], last])) return say(last.startsWith("≥") ? last.replace("≥ ", "≥ ±") : `±${last}`, left + width / 2, "middle");
    if (!room([texts[0], last])) return say(last, left + width, "end");
    say(texts[0], left, "start");
    if (texts.length === 3 && room(texts)) say(texts[1], left + width / 2, "middle");
    say(last, left + width, "end");
  }

  function panelTitle(full, width) {
    const text = full.replace(/ {2}/, " ");
    return widthOf(text, LABEL, true) <= width ? text : text.replace(/ \(.*\)$/, "");
  }

  /* Signs of what is switched off, and their meaning. */
  function drawLegend(shapes, { used, selection, text }, { left, top, width }) {
    if (!used.size) return top;
    const middle = top + 1.5;
    let x = left + 1.2;
    if (used.has("cross")) {
      sign(shapes, MS.treatmentText(selection), x, middle, 1);
      x += 3;
    }
    if (used.has("strike")) {
      shapes.push({ rect: [x - 1, middle - 0.3, 2.4, 0.6], fill: OFF });
      x += 3.2;
    }
    return paragraph(shapes, text, { left: x - 0.4, top: top + 0.4, width: width - (x - left), size: SMALL });
  }

  const rowHeight = (layers, width) => Math.min(width < 120 ? 3.6 : 4.6, Math.max(1.3, 100 / layers));

  /* graph: the map of the page. selection: what is switched off. title, unit, legend: texts. width: millimetres. */
  MS.paperFigure = function ({ graph, selection, title, unit, legend, width }) {
    const layout = graph._fullLayout, meta = layout.meta, shapes = [];
    const colours = scaleOf(meta.scales.light);
    const inner = width - LEFT - EDGE, layers = meta.panels[0].layers, row = rowHeight(layers, width);
    const text = { left: EDGE, width: width - 2 * EDGE };
    let top = EDGE;
    if (title) top = paragraph(shapes, title, { ...text, top, size: TITLE, bold: true }) + GAP_BELOW;
    top += heightOf(LABEL) + 0.6; // the panels' titles
    const used = new Set();
    let below = 0;
    const boxes = meta.panels.map((panel, index) => {
      const axis = layout[panel.axis.replace("x", "xaxis")], suffix = panel.axis.slice(1);
      const [from, to] = axis.domain;
      const box = { left: LEFT + from * inner, top, width: (to - from) * inner, row, height: row * layers };
      const places = placesOf(panel, axis, box);
      const name = panelTitle(panel.title, box.width);
      shapes.push({ text: name, at: [box.left, top - 1.2], size: LABEL, bold: true, anchor: "start" });
      drawCells(shapes, panel, graph.data[2 * index], colours, layout[`coloraxis${suffix}`], places, box);
      for (const mark of drawMarks(shapes, panel, selection, places, box)) used.add(mark);
      below = Math.max(below, drawColumns(shapes, axis, places, box));
      return { ...box, axis: layout[`coloraxis${suffix}`] };
    });
    drawRows(shapes, layers, boxes[0]);
    top += row * layers + below + 1.6;
    for (const box of boxes) drawBar(shapes, colours, box.axis, { ...box, top });
    top = paragraph(shapes, unit, { ...text, top: top + 6.2, size: SMALL }) + 0.6;
    top = drawLegend(shapes, { used, selection, text: legend }, { ...text, top });
    return { width, height: Math.ceil((top + EDGE) * 10) / 10, shapes, title };
  };
})();
