/* Updates that the page does not ask for: events of the current trial, the server's health, the theme. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const { api } = MS;
  const RETRY_MS = 1500;
  const SILENCE_MS = 20000; // without any answer, a selection is sent again
  const BURST_MS = 150; // clicks that follow each other this quickly become one trial
  const RENDER_TIMEOUT_MS = 1000; // if the server has not rendered an event by then, the next one is sent anyway
  let source = null;

  MS.ended = (trial) => ["done", "failed", "cancelled"].includes(trial.status);
  MS.following = () => source !== null;
  const onMap = () => document.getElementById("tray-figures") !== null;

  /* Follow one trial. Any other stream is closed first, so that its late events cannot be taken for this trial's.
     Events that are not newer than the last one are dropped: after a reconnect the first may be a repetition. While the
     trial is queued, they tell what is ahead of it. */
  MS.follow = function (trial) {
    MS.unfollow();
    if (!trial || MS.ended(trial) || trial.id === endedTrial) return;
    const stream = (source = new EventSource(api(`/trials/${trial.id}/events`)));
    let sequence = trial.sequence;
    const receive = (event) => {
      if (source !== stream) return;
      if (!onMap()) return MS.unfollow();
      const update = JSON.parse(event.data);
      set("connection", { data: "ok" });
      if (update.id !== trial.id) return;
      if (MS.ended(update)) {
        endedTrial = update.id;
        MS.unfollow();
      }
      if (update.sequence < sequence || (update.sequence === sequence && !update.waiting)) return;
      sequence = update.sequence;
      show(update);
    };
    stream.addEventListener("progress", receive);
    stream.addEventListener("status", receive);
    stream.onopen = () => source === stream && set("connection", { data: "ok" });
    stream.onerror = () => {
      if (source !== stream || !onMap()) return stream.close();
      set("connection", { data: "lost" });
      // The browser reconnects by itself and resumes after the last event it has. It gives up when the answer is not
      // a stream (a 503, a proxy's page); then we connect again, from the beginning.
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(() => source === stream && MS.follow({ ...trial, sequence }), RETRY_MS);
    };
  };

  /* The server renders the figures. An event that arrives meanwhile waits for it, and a newer one replaces it: Dash
     drops the answer to a request that a newer one overtakes, so that only the end of a quick trial would be seen. */
  let began = null; // {at, n}: the first examples of the current trial

  /* What happens next, written at once: the figures come from the server. */
  function state(text) {
    const line = document.getElementById("tray-state");
    if (line && line.textContent !== text) line.textContent = text;
  }

  MS.tellState = function (trial) {
    if (MS.ended(trial) || trial.status === "queued") return state(""); // the figures say the rest
    if (!trial.n) return state("A worker has taken it …");
    const now = performance.now();
    if (!began) began = { at: now, n: trial.n };
    const left = trial.n > began.n ? ((now - began.at) / (trial.n - began.n)) * (trial.total - trial.n) : NaN;
    state(left >= 1000 ? `Measuring, about ${Math.round(left / 1000)} s left` : "Measuring …");
  };

  let endedTrial = null;
  let renderingSince = -Infinity;
  let pending = null;

  function show(trial) {
    pending = trial;
    MS.tellState(trial);
    const wait = renderingSince + RENDER_TIMEOUT_MS - performance.now();
    if (wait > 0) return setTimeout(() => pending === trial && MS.rendered(), wait);
    pending = null;
    renderingSince = performance.now();
    set("trial", { data: trial });
  }

  MS.rendered = function () {
    renderingSince = -Infinity;
    if (pending && onMap()) show(pending);
  };

  MS.unfollow = function () {
    if (source) source.close();
    source = null;
  };

  /* The first click is sent at once; clicks within BURST_MS of it become one trial. A request without an answer is
     sent again until it has one. */
  let timer = null;
  let number = 0; // of the newest selection
  let answeredNumber = 0;
  let lastSelection = null;
  let repeatedNumber = null;
  let sentAt = -Infinity;

  MS.settle = function (selection) {
    MS.unfollow();
    pending = null;
    began = null;
    state(MS.count(selection) ? "Sending to a worker …" : "");
    number += 1;
    send({ ...selection, number }, Math.max(0, sentAt + BURST_MS - performance.now()));
  };

  function send(selection, delay) {
    lastSelection = selection;
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!onMap()) return;
      sentAt = performance.now();
      set("settled", { data: { ...selection, asked: Date.now() } });
      send(selection, SILENCE_MS);
    }, delay);
  }

  /* `answer`: {number, failed}. */
  MS.answered = function (answer) {
    if (!answer || answer.number !== number) return;
    if (answer.failed) return send(lastSelection, RETRY_MS);
    answeredNumber = number;
    clearTimeout(timer);
  };

  /* Another trial of this session replaced the current one, and this page did not submit it (requests that overtook
     each other, a duplicated tab): submit ours once more, and only once, or two tabs would cancel each other forever. */
  MS.overtaken = function () {
    if (repeatedNumber === number || answeredNumber !== number) return;
    repeatedNumber = number;
    answeredNumber = null;
    send(lastSelection, BURST_MS);
  };

  MS.settling = () => answeredNumber !== number;

  MS.session = function () {
    let name = sessionStorage.getItem("modelshapley-session");
    if (!name) {
      name = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
      sessionStorage.setItem("modelshapley-session", name);
    }
    return name;
  };

  async function health() {
    let message = "";
    try {
      const answer = await fetch(api("/health"), { cache: "no-store", signal: AbortSignal.timeout(4000) });
      const body = await answer.json();
      if (!answer.ok) message = `${body.detail || "The server has a problem."} Nothing is lost. Retrying …`;
      else message = body.problem || "";
    } catch (error) {
      message = error.name === "TimeoutError"
        ? "The server is slow to respond. Nothing is lost. Retrying …"
        : "The server does not respond. Retrying … Check that `modelshapley up` is running.";
    }
    const banner = document.getElementById("banner");
    // The server is back: send the selection that it has not answered yet.
    if (banner && !message && !banner.hidden && MS.settling() && onMap()) send(lastSelection, 0);
    if (banner && banner.textContent !== message) {
      banner.textContent = message;
      banner.hidden = !message;
    }
    setTimeout(health, message ? 2000 : 5000);
  }

  function theme() {
    set("theme", { data: document.documentElement.dataset.mantineColorScheme || "light" });
  }

  /* Menus close at a click elsewhere or at Escape. */
  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.unfolding[open]"))
      if (!menu.contains(except)) menu.open = false;
  }
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(null));

  document.addEventListener("DOMContentLoaded", () => {
    setTimeout(health, 1500);
    new MutationObserver(theme).observe(document.documentElement, {
      attributes: true, attributeFilter: ["data-mantine-color-scheme"],
    });
  });
})();
