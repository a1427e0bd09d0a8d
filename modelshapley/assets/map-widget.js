// Heatmap of an importance map (rows: layers). A click toggles a cell, a dragged box selects its cells, arrow keys and
// the space bar do the same without a mouse. The model is that of modelshapley/maps/widget.py.
const HELPS = "31, 95, 174", HURTS = "180, 83, 26";

function element(tag, parent, properties) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

function render({ model, el }) {
  const box = element("div", el, { className: "modelshapley-map" });
  box.style.cssText = "font: 13px system-ui, sans-serif; max-width: 100%";
  element("div", box, { textContent: model.get("title") });
  const bar = element("div", box);
  bar.style.cssText = "display: flex; gap: 8px; align-items: center; margin: 4px 0";
  const kinds = element("select", bar, { ariaLabel: "Kind of unit" });
  for (const kind of Object.keys(model.get("maps"))) element("option", kinds, { value: kind, textContent: `${kind}s` });
  const clear = element("button", bar, { textContent: "Clear selection" });
  const scroll = element("div", box);
  scroll.style.overflowX = "auto";
  const canvas = element("canvas", scroll, { tabIndex: 0 });
  const status = element("div", box, { role: "status" });
  let cursor = [0, 0], start = null, dpr = 1, size = [1, 1];

  const map = () => model.get("maps")[model.get("kind")];
  const cells = (kind = model.get("kind")) => model.get("selected")[kind] || [];
  const has = ([row, column]) => cells().some(([r, c]) => r === row && c === column);
  const isUnit = ([row, column]) => map().scores[row]?.[column] != null;

  function share(next) {
    const selected = { ...model.get("selected"), [model.get("kind")]: next };
    if (!next.length) delete selected[model.get("kind")];
    model.set("selected", selected);
    model.save_changes();
  }

  function toggle(cell) {
    if (!isUnit(cell)) return;
    share(has(cell) ? cells().filter(([r, c]) => r !== cell[0] || c !== cell[1]) : [...cells(), cell]);
  }

  function boxOf([a, b], [c, d]) {
    const found = [];
    for (let row = Math.min(a, c); row <= Math.max(a, c); row++)
      for (let column = Math.min(b, d); column <= Math.max(b, d); column++) found.push([row, column]);
    return found;
  }

  function name([row, column]) {
    const { edges } = map(), kind = model.get("kind");
    if (kind === "layer") return `layer ${row}`;
    const first = edges[column], last = edges[column + 1] - 1;
    return first === last ? `${kind} ${row}.${first}` : `${kind}s ${row}.${first} to ${row}.${last}, the largest`;
  }

  function count(kind) {
    const { edges, scores } = model.get("maps")[kind];
    return cells(kind).reduce((sum, [row, column]) => sum + (scores[row][column] == null ? 0 : edges[column + 1] - edges[column]), 0);
  }

  function say() {
    const kindsOf = Object.keys(model.get("selected"));
    const chosen = kindsOf.map((kind) => `${count(kind)} ${kind}${count(kind) === 1 ? "" : "s"}`).join(", ");
    const score = map().scores[cursor[0]]?.[cursor[1]], error = map().errors[cursor[0]]?.[cursor[1]];
    const here = score == null ? "" : ` · ${name(cursor)}: ${score.toPrecision(3)} ± ${(error ?? 0).toPrecision(2)}`;
    status.textContent = `${chosen || "Nothing"} selected${here}`;
  }

  function draw(end = null) {
    const { scores } = map(), rows = scores.length, columns = scores[0].length;
    size = [Math.max(4, Math.min(24, Math.floor(720 / columns))), rows > 40 ? 8 : 14];
    dpr = window.devicePixelRatio || 1;
    const [width, height] = [columns * size[0], rows * size[1]];
    Object.assign(canvas, { width: width * dpr, height: height * dpr });
    canvas.style.cssText = `width: ${width}px; height: ${height}px; background: #8882; cursor: crosshair; touch-action: none; outline: none`;
    canvas.setAttribute("aria-label", `Importance of ${model.get("kind")}s by layer (rows); arrow keys move, space selects`);
    const pen = canvas.getContext("2d");
    pen.scale(dpr, dpr);
    const largest = Math.max(...scores.flat().map((score) => Math.abs(score ?? 0))) || 1;
    scores.forEach((row, r) => row.forEach((score, c) => {
      if (score == null) return;
      pen.fillStyle = `rgba(${score < 0 ? HURTS : HELPS}, ${Math.abs(score) / largest})`;
      pen.fillRect(c * size[0], r * size[1], size[0], size[1] - 1);
    }));
    for (const [r, c] of cells()) {
      pen.fillStyle = "#111";
      pen.fillRect(c * size[0], r * size[1], size[0], size[1] - 1);
      pen.fillStyle = "#f5c542";
      pen.fillRect(c * size[0] + 1, r * size[1] + 1, Math.max(2, size[0] - 2), size[1] - 3);
    }
    const [from, to] = start && end ? [start, end] : document.activeElement === canvas ? [cursor, cursor] : [];
    if (from) {
      pen.strokeStyle = "#c2185b";
      pen.lineWidth = 2;
      pen.strokeRect(Math.min(from[1], to[1]) * size[0], Math.min(from[0], to[0]) * size[1],
        (Math.abs(from[1] - to[1]) + 1) * size[0], (Math.abs(from[0] - to[0]) + 1) * size[1]);
    }
    say();
  }

  function at(event) {
    const { left, top } = canvas.getBoundingClientRect(), { scores } = map();
    const within = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value)));
    return [within((event.clientY - top) / size[1], scores.length), within((event.clientX - left) / size[0], scores[0].length)];
  }

  canvas.addEventListener("pointerdown", (event) => {
    start = cursor = at(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    cursor = at(event);
    draw(start && cursor);
  });
  canvas.addEventListener("pointerup", (event) => {
    const from = start, to = at(event);
    start = null;
    if (!from) return;
    if (from[0] === to[0] && from[1] === to[1]) return toggle(to);
    const added = boxOf(from, to).filter((cell) => isUnit(cell) && !has(cell));
    if (added.length) share([...cells(), ...added]);
    else draw();
  });
  canvas.addEventListener("pointercancel", () => { start = null; draw(); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation(); // notebooks have commands on the same keys
    if (!step) return toggle(cursor);
    const next = [cursor[0] + step[0], cursor[1] + step[1]];
    if (isUnit(next)) cursor = next;
    draw();
  });
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, () => draw());
  clear.addEventListener("click", () => { model.set("selected", {}); model.save_changes(); });
  kinds.addEventListener("change", () => { model.set("kind", kinds.value); model.save_changes(); });

  function changed() {
    kinds.value = model.get("kind");
    if (!isUnit(cursor)) cursor = [0, 0];
    draw();
  }
  model.on("change:kind", changed);
  model.on("change:selected", changed);
  changed();
  return () => { model.off("change:kind", changed); model.off("change:selected", changed); };
}

export default { render };
