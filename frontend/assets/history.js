/* The browser's history holds the selections of the map page, so that back, forward and Undo (a step back) agree. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const LONGEST = 20000; // characters of a selection that an entry of the history holds itself
  const DRAG_MS = 1500; // moves of the slider that follow each other this quickly are one entry
  const long = new Map(); // selections that are too long, by depth
  let path = null; // of the map on the page
  let dragged = { at: -Infinity };

  /* Selections of this page before the current one. */
  MS.depth = () => (history.state && history.state.depth) || 0;

  /* Write the page's address; a selection other than that of the current entry gets an entry of its own. */
  MS.writeAddress = function (query, selection) {
    const current = history.state || {};
    const before = current.selection || long.get(current.depth);
    const changed = path === location.pathname && before && !MS.same(before, selection);
    const write = changed && !isDrag(selection) ? "pushState" : "replaceState";
    const depth = MS.depth() + (write === "pushState" ? 1 : 0);
    const fits = MS.text(selection).length < LONGEST;
    if (!fits) long.set(depth, selection);
    path = location.pathname;
    history[write]({ ...current, depth, selection: fits ? selection : null }, "", path + query);
  };

  /* Whether a selection continues the drag that made the current entry. */
  function isDrag({ ranked }) {
    const now = performance.now();
    const same = ranked && dragged.unit === ranked.unit && dragged.depth === MS.depth() && now - dragged.at < DRAG_MS;
    dragged = ranked ? { unit: ranked.unit, at: now, depth: MS.depth() + (same ? 0 : 1) } : { at: -Infinity };
    return same;
  }

  /* Before Dash's own listener, which would lay the page out again. */
  window.addEventListener("popstate", ({ state }) => {
    const selection = state && (state.selection || long.get(state.depth));
    if (!selection || path !== location.pathname || !document.getElementById("tray-figures")) return;
    const set = window.dash_clientside.set_props;
    set("visible-address", { data: [location.pathname, location.search] });
    set("loaded", { data: { selection } });
  });
})();
