/* Fetches the map's figure from its own route (frontend/figure_route.py), beginning while Dash still builds the page. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const isMap = () => /\/runs\/[\w-]{1,64}\/?$/.test(location.pathname);
  const address = (query) => `${location.pathname.replace(/\/$/, "")}/figure?${query}`;
  const queryOf = (map) => new URLSearchParams({ method: map.method, look: map.look, class: map.class }).toString();
  const same = (a, b) => queryOf(a) === queryOf(b);

  async function fetchFigure(query) {
    const answer = await fetch(address(query));
    if (answer.status === 204) return null;
    if (answer.ok) return answer.json();
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `The server answered with status ${answer.status}.`);
  }

  /* The figure that this address will need. An error is dropped: the page's own request reports it. */
  let prefetched = isMap() ? fetchFigure(`${location.search.replace(/^\?/, "")}&early=1`).catch(() => null) : null;
  const prefetchedAt = location.pathname;

  let request = null; // {map, at} of the newest request
  let visible = null; // {map, at, figure} of the figure on the page

  async function figureOf(map) {
    const first = prefetched && prefetchedAt === location.pathname ? await prefetched : null;
    prefetched = null;
    return first && same(first.of, map) ? first.figure : (await fetchFigure(queryOf(map))).figure;
  }

  function setBusy(busy) {
    const frame = document.getElementById("map-frame");
    if (frame) frame.setAttribute("aria-busy", busy);
  }

  function showProblem(problem, retry) {
    const alert = document.getElementById("map-problem");
    if (!alert) return;
    const button = MS.make("button", { type: "button", className: "upload-button", onclick: retry }, "Try again");
    alert.replaceChildren(...(problem ? [MS.make("p", {}, `The map could not be drawn. ${problem}`), button] : []));
  }

  /* Show a map, {method, look, class}. Nothing is fetched where only the theme has changed. */
  MS.showMap = async function (map) {
    const mine = (request = { map, at: location.pathname });
    const fresh = !document.querySelector("#map > .js-plotly-plot");
    const known = visible && visible.at === mine.at && same(visible.map, map);
    if (known && !fresh) return MS.render(MS.draw(visible.figure));
    setBusy(true);
    try {
      const figure = known ? visible.figure : await figureOf(map);
      if (request !== mine || location.pathname !== mine.at) return;
      visible = { ...mine, figure };
      showProblem(null);
      MS.render(MS.draw(figure));
      MS.tour();
    } catch (error) {
      const reason = error instanceof TypeError ? "The server does not respond." : error.message;
      if (request === mine) showProblem(reason, () => MS.showMap(map));
    } finally {
      if (request === mine) setBusy(false);
    }
  };

  /* Fetch the cells of a part of a panel; null on any error, and then the coarse cells stay. */
  MS.zoomedCells = async function ({ kind, start, stop }) {
    try {
      return await fetchFigure(`${queryOf(request.map)}&window=${kind}:${start}-${stop}`);
    } catch {
      return null;
    }
  };
})();
