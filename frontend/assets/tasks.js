/* Client-side callbacks of the tasks page. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});
  dc.tasks = {
    /* Disable the preview's polling while the preview is closed. */
    watch: (opened) => !opened,

    /* dcc.Upload (Dash 4.4) gives its input no label. */
    label() {
      const input = document.querySelector("#task-upload input");
      if (input) input.setAttribute("aria-label", "Choose a task file");
      return dc.no_update;
    },

    /* After a failed attempt, focus the first invalid field, once the page has marked it. */
    focusInvalid(attempted) {
      const find = (retries) => {
        const invalid = document.querySelector("#task-tab [aria-invalid=true]");
        if (invalid && invalid.offsetParent) invalid.focus();
        else if (retries) setTimeout(() => find(retries - 1), 100);
      };
      if (attempted) find(15);
      return dc.no_update;
    },

    reveal(clicks) {
      if (clicks.some(Boolean)) document.getElementById("task-tab").scrollIntoView({ block: "center" });
      return dc.no_update;
    },
  };
})();
