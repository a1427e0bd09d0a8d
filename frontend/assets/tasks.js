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
    focusInvalid(attempted, refused) {
      const find = (retries) => {
        const folded = document.querySelector("#task-more [aria-invalid=true]");
        if (folded) folded.closest("details").open = true;
        const invalid = document.querySelector("#task-tab [aria-invalid=true]");
        if (invalid && invalid.offsetParent) invalid.focus();
        else if (retries) setTimeout(() => find(retries - 1), 100);
      };
      if (attempted || refused) find(15);
      return dc.no_update;
    },

    /* Put the column of the pressed button at the end of a field. */
    insert(clicks, value) {
      const { triggered, triggered_id: id } = dc.callback_context;
      if (!triggered.length || !triggered[0].value) return dc.no_update;
      const text = value || "";
      return `${text}${text && !/\s$/.test(text) ? " " : ""}{${id.column}}`;
    },

    reveal(clicks) {
      if (clicks.some(Boolean)) document.getElementById("task-tab").scrollIntoView({ block: "center" });
      return dc.no_update;
    },
  };
})();
