/* Client-side callbacks of the pages Trust and Compare. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});

  /* Write the state of the page into the address bar, without loading anything. */
  function hold(query) {
    window.history.replaceState(window.history.state, "", window.location.pathname + query);
    return dc.no_update;
  }

  /* After a cell of the matrix was pressed, the pair that it opened is far below: go there. */
  let opening = false;
  document.addEventListener("click", ({ target }) => {
    if (target.closest && target.closest(".matrix button")) opening = true;
  });

  function compared(query) {
    const detail = opening && document.getElementById("compare-detail");
    opening = false;
    if (detail) requestAnimationFrame(() => detail.isConnected && detail.focus());
    return query ? hold(query) : dc.no_update;
  }

  dc.pages = {
    compared,
    trustAddress: (method, unit) => hold(`?method=${encodeURIComponent(method)}&unit=${unit}`),
  };
})();
