/* Client-side callbacks of the pages Trust and Compare. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});

  /* Write the state of the page into the address bar, without loading anything. */
  function hold(query) {
    window.history.replaceState(window.history.state, "", window.location.pathname + query);
    return dc.no_update;
  }

  dc.pages = {
    hold: (query) => (query ? hold(query) : dc.no_update),
    trustAddress: (method, unit) => hold(`?method=${encodeURIComponent(method)}&unit=${unit}`),
  };
})();
