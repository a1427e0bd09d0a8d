/* Keeps the filter of the list of runs and the page's address in step. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});

  /* Write the filter into the address and mark that address as visible, so that the page is not rebuilt while somebody
     types in it. A new search starts at its first page. */
  dc.runs = {
    filter(search, status, order, page, before) {
      const now = { search: (search || "").trim(), status: status || "", tag: before.tag, order: order || "newest", page: page || 1 };
      const same = ["search", "status", "order"].every((name) => now[name] === before[name]);
      if (!same) now.page = 1;
      if (same && now.page === before.page) return [dc.no_update, dc.no_update];
      const parameters = Object.entries(now).filter(
        ([name, value]) => value && !(name === "page" && value === 1) && !(name === "order" && value === "newest"));
      const query = parameters.length ? `?${new URLSearchParams(parameters)}` : "";
      history.replaceState(history.state, "", location.pathname + query);
      dc.set_props("visible-address", { data: [location.pathname, query] });
      // Dash 4.4 returns to the href that it knows unless that is updated as well.
      dc.set_props("url", { search: query, href: location.href });
      return [now, now.page];
    },
  };
})();
