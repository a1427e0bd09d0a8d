/* The list of runs: its filter and its address follow each other. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});

  /* The address changes in place, and the page is told that it shows this address already, so that it is not built
     anew under the hand that types. Another search begins at its first page. */
  dc.runs = {
    filter(search, status, page, before) {
      const now = { search: (search || "").trim(), status: status || "", page: page || 1 };
      const same = now.search === before.search && now.status === before.status;
      if (!same) now.page = 1;
      if (same && now.page === before.page) return [dc.no_update, dc.no_update];
      const said = Object.entries(now).filter(([name, value]) => value && !(name === "page" && value === 1));
      const query = said.length ? `?${new URLSearchParams(said)}` : "";
      history.replaceState(history.state, "", location.pathname + query);
      dc.set_props("shown", { data: [location.pathname, query] });
      // Dash goes back to the href that it knows unless it is told of this one, too.
      dc.set_props("url", { search: query, href: location.href });
      return [now, now.page];
    },
  };
})();
