/* plotly.js is two thirds of the page's scripts, and many pages draw nothing: it loads when something asks for it.

   `window.Plotly` is a promise of it until then, which is what dcc.Graph waits for, too. */
(function () {
  const RETRY_MS = 1500;
  let loading = null;

  /* It is asked for until it comes: dcc.Graph has no other way back from a failure than to load the page again. The
     banner says meanwhile that the server does not respond. */
  function request(resolve) {
    const script = document.createElement("script");
    script.src = document.querySelector("meta[name=plotly]").content;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      script.remove();
      setTimeout(request, RETRY_MS, resolve);
    };
    document.head.append(script);
  }

  const load = () => (loading = loading || new Promise(request));

  Object.defineProperty(window, "Plotly", {
    configurable: true,
    get: load,
    set: (value) => Object.defineProperty(window, "Plotly", { value, writable: true, configurable: true }),
  });

  // On a page of a run, a figure comes for certain: the script need not wait for it.
  if (/\/runs\/\w+\/?$/.test(window.location.pathname)) load();
})();
