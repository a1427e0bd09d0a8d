/* Client-side callbacks of the page of tasks. */
(function () {
  const dc = (window.dash_clientside = window.dash_clientside || {});
  dc.tasks = {
    /* The preview asks the server only while it is open. */
    watch: (opened) => !opened,

    /* dcc.Upload gives its input no label. */
    label() {
      const input = document.querySelector("#task-upload input");
      if (input) input.setAttribute("aria-label", "Choose a task file");
      return dc.no_update;
    },

    /* After a try that failed: to the first field that is wrong, once the page has marked it. */
    point(tried) {
      const look = (times) => {
        const wrong = document.querySelector("#task-tab [aria-invalid=true]");
        if (wrong && wrong.offsetParent) wrong.focus();
        else if (times) setTimeout(() => look(times - 1), 100);
      };
      if (tried) look(15);
      return dc.no_update;
    },

    reveal(clicks) {
      if (clicks.some(Boolean)) document.getElementById("task-tab").scrollIntoView({ block: "center" });
      return dc.no_update;
    },
  };
})();
