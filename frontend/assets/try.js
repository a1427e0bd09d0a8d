/* The page to try a prompt: its answer as it is written, and single tokens. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const dc = (window.dash_clientside = window.dash_clientside || {});
  const { api, make } = MS;
  const set = (id, props) => dc.set_props(id, props);
  const byId = (id) => document.getElementById(id);
  const RETRY_MS = 1500;
  const SILENCE_MS = 8000; // without an answer to a submission
  const ENDED = ["done", "failed", "cancelled"];

  let current = null; // {id, source, began, steps} of the prompt that the page shows
  let positions = []; // of its comparison
  let comparing = true; // whether the answer has a second column
  let chosen = null; // the position whose next tokens are shown
  let number = 0;
  let silence = null;

  const onPage = () => byId("try-page") !== null;
  const say = (text) => byId("try-state") && (byId("try-state").textContent = text);

  /* -- the answer, token by token ------------------------------------------------------------------------- */

  function add(column, token) {
    const node = byId(`try-${column}`);
    if (!node || !token) return;
    node.append(token.end ? make("span", { className: "try-end", title: "the model ends its answer" }, "end") : token.text);
  }

  function replaceColumns(prompt) {
    for (const column of ["intact", "changed"]) {
      const node = byId(`try-${column}`);
      if (node) node.replaceChildren();
      for (const token of (prompt[column] || {}).tokens || []) add(column, token);
    }
  }

  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  const waitingFor = ({ waiting }) => capital(waiting ? waiting.sentence : "waiting for a worker …");

  const FINISHED = { end: "ended by itself", length: "stopped at its length" };

  function finished(prompt) {
    if (prompt.status === "failed") return "";
    if (prompt.status === "cancelled") return `Cancelled${prompt.error && prompt.error !== "cancelled" ? `: ${prompt.error}` : ""}.`;
    const seconds = (performance.now() - current.began) / 1000;
    const count = prompt.intact.tokens.length + (prompt.changed ? prompt.changed.tokens.length : 0);
    if (!count) return "Done.";
    return `${count} tokens in ${seconds.toFixed(1)} s; the intact answer ${FINISHED[prompt.intact.finish]}.`;
  }

  function receive(kind, data) {
    if (kind === "tokens") {
      current.steps += 1;
      add("intact", data.intact);
      add("changed", data.changed);
      return say(`Writing, ${current.steps === 1 ? "1 token" : `${current.steps} tokens`} …`);
    }
    if (data.status === "queued") return say(waitingFor(data));
    if (kind === "status" && data.status !== "cancelled") replaceColumns(data);
    if (!ENDED.includes(data.status)) return current.steps || say("Loading the model …");
    say(finished(data));
    stop();
    if (data.status === "failed") set("try-problem", { children: data.error });
    if (data.status === "done") compare(data);
  }

  function connect(prompt, lastId) {
    const source = new EventSource(api(`/prompts/${prompt.id}/events`));
    current.source = source;
    for (const kind of ["status", "progress", "tokens"])
      source.addEventListener(kind, (event) => {
        if (current.source !== source) return;
        if (!onPage()) return stop();
        if (current.seen.has(event.lastEventId) && kind === "tokens") return;
        current.seen.add(event.lastEventId);
        receive(kind, JSON.parse(event.data));
      });
    source.onerror = () => {
      if (!current || current.source !== source) return;
      if (!onPage()) return stop();
      say("Connection lost. Reconnecting …");
      // The browser reconnects by itself, unless the answer was no stream.
      if (source.readyState === EventSource.CLOSED)
        setTimeout(() => current && current.source === source && connect(prompt), RETRY_MS);
    };
  }

  function stop() {
    if (current && current.source) current.source.close();
    if (current) current.source = null;
    if (byId("try-cancel")) byId("try-cancel").hidden = true;
  }

  async function cancel() {
    if (!current || !current.source) return;
    say("Cancelling …");
    await fetch(api(`/prompts/${current.id}`), { method: "DELETE" }).catch(() => say("The server does not respond."));
  }

  /* -- single tokens -------------------------------------------------------------------------------------- */

  async function compare(prompt) {
    const answer = await fetch(api(`/prompts/${prompt.id}/comparison`)).catch(() => null);
    if (!answer || !answer.ok || !current || current.id !== prompt.id) return;
    positions = (await answer.json()).positions;
    comparing = Object.values(prompt.counts).some((n) => n > 0);
    const picture = prompt.modality === "image";
    const shown = positions.length > 0;
    byId("try-tokens").hidden = !shown;
    byId("try-strip").hidden = picture;
    byId("try-shade-frame").hidden = picture || !comparing;
    byId("try-tokens-title").textContent = picture ? "Classes" : "Token by token";
    if (shown) {
      if (picture) byId("try-legend").textContent = "Probabilities of the classes, of the same picture.";
      else drawStrip();
      const first = positions.reduce((best, p, i) => (p.kl > positions[best].kl ? i : best), 0);
      choose(comparing ? first : 0);
    }
    set("try-done", { data: { id: prompt.id, number } });
  }

  let measure = "kl";
  const amount = (p) =>
    !comparing ? p.loss_intact : measure === "kl" ? p.kl : Math.max(0, p.loss_changed - p.loss_intact);
  const visible = (text) => text.replace(/\n/g, "⏎\n") || "·";

  function drawStrip() {
    const most = Math.max(...positions.map(amount), 1e-9);
    byId("try-legend").textContent = !comparing
      ? `Stronger blue: larger loss of the token, up to ${most.toFixed(2)} nats. Choose a token to see what else could have followed.`
      : measure === "kl"
        ? `Stronger blue: the next-token distributions differ more, KL(intact ‖ changed) up to ${most.toFixed(2)} nats. Both read the intact answer. Choose a token.`
        : `Stronger blue: the token loses more likelihood without these units, up to ${most.toFixed(2)} nats. Both read the intact answer. Choose a token.`;
    const buttons = positions.map((p, place) => {
      const title = `${amount(p).toFixed(3)} nats`;
      const node = make("button", { type: "button", className: "try-token", title, dataset: { place } }, visible(p.text));
      node.style.setProperty("--shade", `${Math.round(62 * Math.sqrt(amount(p) / most))}%`); // darker, text would fade
      return node;
    });
    byId("try-strip").replaceChildren(...buttons);
    mark();
  }

  function mark() {
    for (const node of document.querySelectorAll("#try-strip button"))
      node.setAttribute("aria-pressed", String(+node.dataset.place === chosen));
  }

  const percent = (p) => (p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : p > 0 ? "< 0.1 %" : "0 %");

  function bar(probability, kind) {
    const fill = make("div", { className: `try-bar ${kind}` });
    fill.style.width = `${Math.max(0.5, 100 * probability)}%`;
    return make("div", { className: "try-bar-line" }, make("div", { className: "try-bar-track" }, fill), make("span", {}, percent(probability)));
  }

  function row(token, chosenId) {
    const name = make("th", { scope: "row", className: token.id === chosenId ? "chosen" : "" }, visible(token.text));
    const cell = (label, kind) => make("td", { dataset: { label } }, bar(token[label], kind));
    const cells = [cell("intact", "of-intact")];
    if (comparing) cells.push(cell("changed", "of-changed"));
    return make("tr", {}, name, ...cells);
  }

  function table(title, tokens, chosenId) {
    const heads = [byId("try-strip").hidden ? "class" : "token", "intact", ...(comparing ? ["changed"] : [])].map((text) => make("th", { scope: "col" }, text));
    return make("div", {}, make("h3", {}, title),
      make("table", { className: "try-table cards" }, make("thead", {}, make("tr", {}, ...heads)),
        make("tbody", {}, ...tokens.map((token) => row(token, chosenId)))));
  }

  function choose(place) {
    const p = positions[place];
    if (!p) return;
    chosen = place;
    mark();
    const picture = byId("try-strip").hidden;
    const likeliest = (side) => [...p.next].sort((a, b) => b[side] - a[side]).slice(0, 8);
    const both = [...new Set([...likeliest("intact").slice(0, 6), ...likeliest("changed").slice(0, 6)])];
    const tables = [table(picture ? "Likeliest classes" : "Likeliest next tokens", comparing ? both : likeliest("intact"), p.id)];
    if (comparing) {
      const moved = [...p.next].sort((a, b) => Math.abs(b.changed - b.intact) - Math.abs(a.changed - a.intact)).slice(0, 8);
      tables.push(table(picture ? "Classes that moved most" : "Tokens that moved most", moved, p.id));
    }
    const loss = `loss of “${p.text.trim() || p.text || "end"}” ${p.loss_intact.toFixed(2)}` + (comparing ? ` → ${p.loss_changed.toFixed(2)}` : "") + " nats";
    const before = positions.slice(Math.max(0, place - 6), place).map((q) => q.text).join("");
    const where = picture ? "" : before ? `After “…${before.trimStart()}”: ` : "At the start of the answer: ";
    const line = capital(`${where}${loss}`) + (comparing ? `; KL divergence ${p.kl.toFixed(3)} nats.` : ".");
    byId("try-details").replaceChildren(make("p", { id: "try-position" }, line), make("div", { className: "try-tables" }, ...tables));
  }

  /* -- what the page calls -------------------------------------------------------------------------------- */

  dc.tryOut = {
    ask(clicks) {
      if (!clicks) return dc.no_update;
      number += 1;
      stop();
      current = null;
      say("Sending …");
      clearTimeout(silence);
      silence = setTimeout(() => say("The server does not respond. Choose Answer again once it does."), SILENCE_MS);
      return { number, session: `${MS.session()}-try` };
    },
    follow(prompt) {
      clearTimeout(silence);
      if (!prompt) {
        say("");
        return dc.no_update;
      }
      if (current && current.id === prompt.id) return dc.no_update;
      stop();
      current = { id: prompt.id, source: null, began: performance.now(), steps: 0, seen: new Set() };
      positions = [];
      chosen = null;
      set("try-done", { data: null });
      byId("try-tokens").hidden = true;
      byId("try-columns").hidden = prompt.modality === "image";
      byId("try-cancel").hidden = false;
      replaceColumns(prompt);
      say(waitingFor(prompt));
      connect(prompt);
      return prompt.id;
    },
    shade(value) {
      measure = value;
      if (positions.length) drawStrip();
      return "try-strip";
    },
    /* The section of an answer's map: hidden, body, problem, whether nothing is waited for, and what it was kept as. */
    map(done, requested, shown, keeping) {
      const ofAnswer = (result) => (result && done && result.prompt === done.id ? result : {});
      const { body = null, problem = null } = ofAnswer(shown), { kept = null, problem: refusal = null } = ofAnswer(keeping);
      const waiting = requested && !(shown && shown.prompt === requested.prompt && shown.ended);
      return [!done, body, problem || refusal, !waiting, kept];
    },
    open() {
      for (const frame of document.querySelectorAll("[data-picture-field]")) MS.buildPictureField(frame);
      return dc.no_update;
    },
  };

  document.addEventListener("click", ({ target }) => {
    if (target.id === "try-cancel") cancel();
    const token = target.closest && target.closest("#try-strip button");
    if (token) choose(+token.dataset.place);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "try-text") byId("try-go").click();
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !event.target.closest || !event.target.closest("#try-strip button")) return;
    const next = document.querySelector(`#try-strip button[data-place="${+event.target.dataset.place + step}"]`);
    if (next) next.focus();
  });
})();
