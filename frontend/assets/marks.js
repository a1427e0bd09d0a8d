/* Marks of the selected units, on a canvas over the map, so that they appear at once whatever Plotly is doing.
   A cell that is large enough gets a cross. Narrow cells are struck through, and blanked where all their units are
   off, so that they can be told without colour. Units under another intervention than "off" get a ring. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const OFF = "#e8347f";
  const MIN_CROSS_PX = 9;
  let marked = null; // the selection that is drawn

  const plot = () => document.querySelector("#map > .js-plotly-plot");

  /* The cells in which units are off: [{row, column, off, of}], `off` of `of` units each. */
  MS.cells = function (selection, panel) {
    const cells = new Map();
    for (const [row, index = 0] of selection[panel.kind] || []) {
      const column = MS.columnOf(panel, row, index);
      if (column < 0) continue;
      const key = row * panel.edges.length + column;
      const [start, stop] = MS.spanOf(panel, row, column);
      const cell = cells.get(key) || { row, column, off: 0, of: stop - start };
      cell.off += 1;
      cells.set(key, cell);
    }
    return [...cells.values()];
  };

  function cross(ink, x, y, arm) {
    for (const [colour, width] of [["#ffffff", 5], [OFF, 2.5]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = width;
      ink.beginPath();
      ink.moveTo(x - arm, y - arm);
      ink.lineTo(x + arm, y + arm);
      ink.moveTo(x + arm, y - arm);
      ink.lineTo(x - arm, y + arm);
      ink.stroke();
    }
  }

  function ring(ink, x, y, radius) {
    for (const [colour, width] of [["#ffffff", 5], [OFF, 2.5]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = width;
      ink.beginPath();
      ink.arc(x, y, radius, 0, 2 * Math.PI);
      ink.stroke();
    }
  }

  function strike(ink, cell, left, middle, width, height, paper) {
    const all = cell.off === cell.of;
    if (all && paper) {
      ink.fillStyle = paper;
      ink.fillRect(left, middle - height / 2, width, height);
    }
    ink.fillStyle = OFF;
    const thick = all ? 3 : 1;
    ink.fillRect(left, middle - thick / 2, Math.max(width, 1.5), thick);
  }

  /* The frame around the keyboard's cell. */
  function outline(ink, x, y, width, height) {
    const [w, h] = [Math.max(width, 7), Math.max(height, 7)];
    for (const [colour, thick] of [["#ffffff", 5], ["#111318", 2.5]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = thick;
      ink.strokeRect(x - w / 2, y - h / 2, w, h);
    }
  }

  function paint() {
    const canvas = document.getElementById("marks");
    const graph = plot();
    if (!canvas || !graph || !graph._fullLayout || !graph._fullLayout.meta || !marked) return;
    const size = graph.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    canvas.width = size.width * ratio;
    canvas.height = size.height * ratio;
    canvas.style.width = `${size.width}px`;
    canvas.style.height = `${size.height}px`;
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    ink.lineCap = "round";
    const off = !MS.treatmentText(marked);
    const paper = off && getComputedStyle(document.body).backgroundColor;
    const mark = off ? cross : ring;
    let count = 0;
    for (const panel of graph._fullLayout.meta.panels) {
      const x = graph._fullLayout[panel.axis.replace("x", "xaxis")];
      const y = graph._fullLayout[panel.axis.replace("x", "yaxis")];
      const height = Math.abs(y.d2p(1) - y.d2p(0));
      const middleOf = (column) => (panel.edges[column] + panel.edges[column + 1] - 1) / 2;
      const width = Math.abs(x.d2p(panel.edges[1]) - x.d2p(panel.edges[0]));
      ink.save();
      ink.beginPath();
      ink.rect(x._offset, y._offset, x._length, y._length);
      ink.clip();
      for (const cell of MS.cells(marked, panel)) {
        count += 1;
        const centre = x._offset + x.d2p(middleOf(cell.column));
        const middle = y._offset + y.d2p(cell.row);
        if (Math.min(width, height) >= MIN_CROSS_PX) mark(ink, centre, middle, Math.min(8, 0.28 * Math.min(width, height)));
        else strike(ink, cell, centre - width / 2, middle, width, height, paper);
      }
      const cursor = MS.cursorIn(panel);
      if (cursor) outline(ink, x._offset + x.d2p(middleOf(cursor.column)), y._offset + y.d2p(cursor.row), width, height);
      ink.restore();
    }
    canvas.dataset.cells = count;
  }

  function clear() {
    const canvas = document.getElementById("marks");
    if (canvas) canvas.width = canvas.width;
  }

  function show(selection) {
    marked = selection;
    paint();
    MS.tick(selection);
  }

  /* The canvas of a page on which clicks have made what is marked, until Dash has it. */
  let ahead = null;

  MS.mark = function (selection) {
    ahead = null;
    show(selection);
  };

  /* Mark a change in the same frame, and return what it makes of the selection; the page's callback for it follows. */
  MS.foresee = function (change) {
    ahead = document.getElementById("marks");
    show(change(marked));
    return marked;
  };

  /* The selection with all clicks, of which Dash may not have the last yet. */
  MS.withClicks = (selection) => (ahead && ahead.isConnected ? marked : selection);

  /* Mark the selection that Dash has, if it has all clicks. */
  MS.markTaken = function (selection) {
    if (MS.same(MS.withClicks(selection), selection)) MS.mark(selection);
  };

  MS.marked = () => marked;
  MS.clearMarks = clear;
  MS.plot = plot;
  MS.paint = paint;
  MS.isOff = (panel, cell) => MS.cells(marked, panel).some((c) => c.row === cell.row && c.column === cell.column);
})();
