/* What comes by itself: the events of the trial in view, the server's health, the theme. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const root = () => document.querySelector("meta[name=root-path]").content;
  const api = (path) => root() + "api/v1" + path;
  let source = null;

  /* Follow one trial; an older one is let go, so that its late events cannot be taken for this one's. */
  MS.follow = function (trial) {
    MS.unfollow();
    if (!trial || ["done", "failed", "cancelled"].includes(trial.status)) return;
    const mine = (source = new EventSource(api(`/trials/${trial.id}/events`)));
    const take = (event) => {
      if (source !== mine) return;
      const now = JSON.parse(event.data);
      set("trial", { data: now });
      set("connection", { data: "ok" });
      if (["done", "failed", "cancelled"].includes(now.status)) MS.unfollow();
    };
    mine.addEventListener("progress", take);
    mine.addEventListener("status", take);
    mine.onerror = () => source === mine && set("connection", { data: "lost" });
  };

  MS.unfollow = function () {
    if (source) source.close();
    source = null;
  };

  /* A burst of clicks becomes one trial. */
  let waiting = null;
  MS.settle = function (selection) {
    clearTimeout(waiting);
    waiting = setTimeout(() => set("settled", { data: selection }), 150);
  };

  MS.session = function () {
    let name = sessionStorage.getItem("modelshapley-session");
    if (!name) {
      name = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
      sessionStorage.setItem("modelshapley-session", name);
    }
    return name;
  };

  async function health() {
    let words = "";
    try {
      const answer = await fetch(api("/health"), { cache: "no-store" });
      const body = await answer.json();
      if (!answer.ok) words = `${body.detail || "The server is in trouble."} Nothing is lost; this page keeps trying.`;
      else if (body.workers === 0)
        words = "No worker is listening: what you submit waits. Start one with `modelshapley worker`.";
    } catch {
      words = "The server does not answer. This page keeps trying; check that `modelshapley up` is running.";
    }
    const banner = document.getElementById("banner");
    if (banner && banner.textContent !== words) {
      banner.textContent = words;
      banner.hidden = !words;
    }
    setTimeout(health, words ? 2000 : 5000);
  }

  function theme() {
    const now = document.documentElement.dataset.mantineColorScheme || "light";
    if (document.getElementById("theme")) set("theme", { data: now });
  }

  document.addEventListener("DOMContentLoaded", () => {
    setTimeout(health, 1500);
    new MutationObserver(theme).observe(document.documentElement, {
      attributes: true, attributeFilter: ["data-mantine-color-scheme"],
    });
  });
})();
