/* What comes by itself: the events of the trial in view, the server's health, the theme. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const { api } = MS;
  const AGAIN_MS = 1500;
  const SILENCE_MS = 20000;
  const BURST_MS = 150;
  const PATIENCE_MS = 1000;
  let source = null;

  MS.ended = (trial) => ["done", "failed", "cancelled"].includes(trial.status);
  MS.following = () => source !== null;
  const onMap = () => document.getElementById("tray-figures") !== null;

  /* Follow one trial; an older one is let go, so that its late events cannot be taken for this one's. Of this one,
     only what is newer than what is shown counts: after a reconnect the first event may tell what is known. */
  MS.follow = function (trial) {
    MS.unfollow();
    if (!trial || MS.ended(trial) || trial.id === over) return;
    const mine = (source = new EventSource(api(`/trials/${trial.id}/events`)));
    let shown = trial.sequence;
    const take = (event) => {
      if (source !== mine) return;
      if (!onMap()) return MS.unfollow();
      const now = JSON.parse(event.data);
      set("connection", { data: "ok" });
      if (now.id !== trial.id) return;
      if (MS.ended(now)) {
        over = now.id;
        MS.unfollow();
      }
      if (now.sequence <= shown) return;
      shown = now.sequence;
      show(now);
    };
    mine.addEventListener("progress", take);
    mine.addEventListener("status", take);
    mine.onopen = () => source === mine && set("connection", { data: "ok" });
    mine.onerror = () => {
      if (source !== mine || !onMap()) return mine.close();
      set("connection", { data: "lost" });
      // The browser itself reconnects, and goes on after the last event it has. It gives up at an answer that is
      // no stream (a 503, a proxy's page); then we ask again, from the beginning.
      if (mine.readyState !== EventSource.CLOSED) return;
      setTimeout(() => source === mine && MS.follow({ ...trial, sequence: shown }), AGAIN_MS);
    };
  };

  /* The server draws the figures. An event that comes while it does waits until they are there, the newest in the
     place of older ones: Dash would throw the answer away, and of a quick trial only the end would be seen. */
  let over = null;
  let drawing = -Infinity;
  let held = null;

  function show(trial) {
    held = trial;
    const wait = drawing + PATIENCE_MS - performance.now();
    if (wait > 0) return setTimeout(() => held === trial && MS.drawn(), wait);
    held = null;
    drawing = performance.now();
    set("trial", { data: trial });
  }

  MS.drawn = function () {
    drawing = -Infinity;
    if (held && onMap()) show(held);
  };

  MS.unfollow = function () {
    if (source) source.close();
    source = null;
  };

  /* The first click is sent at once; those that follow within BURST_MS become one trial. One that gets no answer is
     asked for again until it does. */
  let timer = null;
  let number = 0;
  let answered = 0;
  let asked = null;
  let repeated = null;
  let sent = -Infinity;

  MS.settle = function (selection) {
    MS.unfollow();
    held = null;
    number += 1;
    ask({ ...selection, number }, Math.max(0, sent + BURST_MS - performance.now()));
  };

  function ask(selection, delay) {
    asked = selection;
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!onMap()) return;
      sent = performance.now();
      set("settled", { data: { ...selection, asked: Date.now() } });
      ask(selection, SILENCE_MS);
    }, delay);
  }

  /* `answer`: {number, failed}. */
  MS.answered = function (answer) {
    if (!answer || answer.number !== number) return;
    if (answer.failed) return ask(asked, AGAIN_MS);
    answered = number;
    clearTimeout(timer);
  };

  /* Another trial of this session took the place of the one in view, and it was not we who asked for it (a request
     that overtook another, a duplicated tab): asked for once more, and only once. */
  MS.overtaken = function () {
    if (repeated === number || answered !== number) return;
    repeated = number;
    answered = null;
    ask(asked, BURST_MS);
  };

  MS.settling = () => answered !== number;

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
      const answer = await fetch(api("/health"), { cache: "no-store", signal: AbortSignal.timeout(4000) });
      const body = await answer.json();
      if (!answer.ok) words = `${body.detail || "The server is in trouble."} Nothing is lost; this page keeps trying.`;
      else if (body.workers === 0)
        words = "No worker is listening: what you submit waits. Start one with `modelshapley worker`.";
    } catch (error) {
      words = error.name === "TimeoutError"
        ? "The server is slow to answer. Nothing is lost; this page keeps trying."
        : "The server does not answer. This page keeps trying; check that `modelshapley up` is running.";
    }
    const banner = document.getElementById("banner");
    if (banner && !words && !banner.hidden && MS.settling() && onMap()) ask(asked, 0);
    if (banner && banner.textContent !== words) {
      banner.textContent = words;
      banner.hidden = !words;
    }
    setTimeout(health, words ? 2000 : 5000);
  }

  function theme() {
    const now = document.documentElement.dataset.mantineColorScheme || "light";
    set("theme", { data: now });
  }

  /* What was unfolded folds again at a click elsewhere or at Escape. */
  function fold(but) {
    for (const open of document.querySelectorAll("details.unfolding[open]")) if (!open.contains(but)) open.open = false;
  }
  document.addEventListener("click", (event) => fold(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && fold(null));

  document.addEventListener("DOMContentLoaded", () => {
    setTimeout(health, 1500);
    new MutationObserver(theme).observe(document.documentElement, {
      attributes: true, attributeFilter: ["data-mantine-color-scheme"],
    });
  });
})();
