/* Which figure the map shows. It comes from the server's own address for figures (frontend/figure_route.py), which is
   asked while the page itself is still being built. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const isMap = () => /\/runs\/[\w-]{1,64}\/?$/.test(location.pathname);
  const address = (query) => `${location.pathname.replace(/\/$/, "")}/figure?${query}`;
  const queryOf = (of) => new URLSearchParams({ method: of.method, look: of.look, class: of.class }).toString();
  const same = (a, b) => queryOf(a) === queryOf(b);

  async function ask(query) {
    const answer = await fetch(address(query));
    if (answer.status === 204) return null;
    if (answer.ok) return answer.json();
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.detail || `The server answered ${answer.status}.`);
  }

  /* The figure that this address will want. What goes wrong is told by the question that the page then asks itself. */
  let early = isMap() ? ask(`${location.search.replace(/^\?/, "")}&early=1`).catch(() => null) : null;
  const earlyAt = location.pathname;

  let wanted = null; // {of, at} of the newest question
  let here = null; // {of, at, figure} of what was drawn last

  async function figureOf(of) {
    const first = early && earlyAt === location.pathname ? await early : null;
    early = null;
    return first && same(first.of, of) ? first.figure : (await ask(queryOf(of))).figure;
  }

  function busy(now) {
    const frame = document.getElementById("map-frame");
    if (frame) frame.setAttribute("aria-busy", now);
  }

  function tell(problem, again) {
    const place = document.getElementById("map-problem");
    if (!place) return;
    const retry = MS.make("button", { type: "button", className: "upload-button", onclick: again }, "Try again");
    place.replaceChildren(...(problem ? [MS.make("p", {}, `The map could not be drawn. ${problem}`), retry] : []));
  }

  /* of: {method, look, class}. Drawn at once where only the theme has changed. */
  MS.look = async function (of) {
    const mine = (wanted = { of, at: location.pathname });
    const fresh = !document.querySelector("#map > .js-plotly-plot");
    const known = here && here.at === mine.at && same(here.of, of);
    if (known && !fresh) return MS.render(MS.draw(here.figure));
    busy(true);
    try {
      const figure = known ? here.figure : await figureOf(of);
      if (wanted !== mine || location.pathname !== mine.at) return;
      here = { ...mine, figure };
      tell(null);
      MS.render(MS.draw(figure));
    } catch (error) {
      if (wanted === mine) tell(error instanceof TypeError ? "The server does not answer." : error.message, () => MS.look(of));
    } finally {
      if (wanted === mine) busy(false);
    }
  };

  /* The cells of a part of a panel of the figure that is shown; null where they cannot be had: the coarse ones stay. */
  MS.closer = async function ({ kind, start, stop }) {
    try {
      return await ask(`${queryOf(wanted.of)}&window=${kind}:${start}-${stop}`);
    } catch {
      return null;
    }
  };
})();
