/* Upload a model: its files in pieces, one after the other; what broke goes on where it was. The form is built here,
   since a page of Dash has no field for files that says its name. */
(function () {
  const { api, make, root } = window.modelShapley;
  const AGAIN_MS = 2000;
  const SETTLED_MS = 1500;

  class Refused extends Error {}

  /* An answer of the API; an error in its words. Without an answer the browser's TypeError comes through. */
  async function ask(path, method = "GET", body = null, kind = "application/json") {
    const headers = body === null ? {} : { "Content-Type": kind };
    const answer = await fetch(api(path), { method, body, headers, cache: "no-store" });
    if (answer.status === 204) return null;
    const told = await answer.json();
    if (answer.ok) return told;
    if (answer.status >= 500) throw new TypeError(told.detail);
    throw Object.assign(new Refused(told.detail), { status: answer.status });
  }

  const size = (n) =>
    n < 1024 ? `${n} B` : n < 2 ** 20 ? `${(n / 1024).toFixed(0)} KiB` : n < 2 ** 30 ? `${(n / 2 ** 20).toFixed(1)} MiB` : `${(n / 2 ** 30).toFixed(2)} GiB`;
  const left = (s) => (s < 90 ? `${Math.max(1, Math.round(s))} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);
  const fits = (name, patterns) => patterns.some((p) => (p.startsWith("*") ? name.endsWith(p.slice(1)) && name.length >= p.length : p === name));

  /* Send every byte that is not there. `tell(done, total)`; `stopped()` ends it between two pieces. */
  async function send(upload, files, tell, lost, stopped) {
    const total = upload.files.reduce((sum, file) => sum + file.size, 0);
    let now = upload;
    while (!stopped()) {
      const file = now.files.find((f) => f.done < f.size);
      tell(now.files.reduce((sum, f) => sum + f.done, 0), total);
      if (!file) return true;
      try {
        const piece = files.get(file.name).slice(file.done, file.done + upload.piece);
        const path = `/uploads/${upload.id}/files/${encodeURIComponent(file.name)}?offset=${file.done}`;
        const there = await ask(path, "PUT", await piece.arrayBuffer(), "application/octet-stream");
        now = { ...now, files: now.files.map((f) => (f.name === there.name ? there : f)) };
      } catch (error) {
        if (error instanceof DOMException) throw new Refused(`${file.name} has changed on your disk; choose the files anew.`);
        if (!(error instanceof TypeError) && error.status !== 409) throw error;
        if (error instanceof TypeError) {
          lost();
          await new Promise((done) => setTimeout(done, AGAIN_MS));
        }
        // Whether the piece came through before the line broke, only the server knows.
        const before = file.done;
        now = await ask(`/uploads/${upload.id}`).catch((again) => {
          if (again instanceof TypeError) return now;
          throw again;
        });
        if (error.status === 409 && now.files.find((f) => f.name === file.name).done === before) throw error;
      }
    }
    return false;
  }

  function build(box) {
    const name = make("input", { id: "upload-name", className: "upload-field", maxLength: 80, autocomplete: "off", spellcheck: false });
    const folder = make("input", { id: "upload-folder", type: "file", className: "upload-field", webkitdirectory: true, multiple: true });
    const chosen = make("input", { id: "upload-files", type: "file", className: "upload-field", multiple: true });
    const go = make("button", { id: "upload-go", type: "button", className: "upload-button", textContent: "Upload", disabled: true });
    const stop = make("button", { id: "upload-stop", type: "button", className: "plain-button", textContent: "Stop and drop it", hidden: true });
    const bar = make("progress", { id: "upload-bar", max: 1, value: 0, hidden: true, ariaLabel: "share of the files uploaded" });
    const told = make("div", { id: "upload-told", role: "status", className: "quiet" });
    const wrong = make("div", { id: "upload-problem", role: "alert", className: "problem" });
    const field = (label, input, hint) => {
      const id = `${input.id}-hint`;
      if (hint) input.setAttribute("aria-describedby", id);
      return make("div", {}, make("label", { htmlFor: input.id, textContent: label }), input, hint ? make("div", { id, className: "quiet", textContent: hint }) : "");
    };
    box.append(
      field("Folder of the model", folder, "config.json, *.safetensors and the tokenizer's files; others stay behind."),
      field("Or its files, one by one", chosen),
      field("Name here", name, "Letters, figures, dots, dashes. It becomes local:NAME."),
      make("div", { className: "one-line" }, go, stop), bar, told, wrong,
    );

    let files = new Map();
    let limits = null;
    let running = null;

    const problem = (words) => (wrong.textContent = words || "");
    const ready = () => (go.disabled = running !== null || !files.size || !name.value.trim());
    name.addEventListener("input", ready);

    async function choose(input) {
      problem("");
      try {
        limits = limits || (await ask("/limits"));
      } catch (error) {
        return problem(`The server does not answer: ${error.message}`);
      }
      const all = [...input.files].filter((f) => !f.webkitRelativePath || f.webkitRelativePath.split("/").length === 2);
      const kept = all.filter((f) => fits(f.name, limits.upload_files) && f.size > 0);
      files = new Map(kept.map((f) => [f.name, f]));
      const behind = all.filter((f) => !files.has(f.name)).map((f) => f.name);
      const bytes = kept.reduce((sum, f) => sum + f.size, 0);
      told.textContent = `${kept.length} files, ${size(bytes)}${behind.length ? `; left behind: ${behind.slice(0, 6).join(", ")}${behind.length > 6 ? " …" : ""}` : ""}`;
      const first = all[0];
      if (first && first.webkitRelativePath && !name.value) name.value = first.webkitRelativePath.split("/")[0].replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 80);
      (input === folder ? chosen : folder).value = "";
      ready();
    }
    folder.addEventListener("change", () => choose(folder));
    chosen.addEventListener("change", () => choose(chosen));

    function busy(now) {
      running = now;
      bar.hidden = stop.hidden = now === null;
      [name, folder, chosen].forEach((input) => (input.disabled = now !== null));
      ready();
    }

    go.addEventListener("click", async () => {
      const mine = { stopped: false, id: null };
      busy(mine);
      problem("");
      const began = performance.now();
      let before = null;
      const tell = (done, total) => {
        before = before === null ? done : before;
        bar.value = done / total;
        const s = (performance.now() - began) / 1000;
        const rate = (done - before) / s;
        const wait = rate > 0 && s * 1000 > SETTLED_MS ? `, ${left((total - done) / rate)} left` : "";
        told.textContent = `${Math.floor((100 * done) / total)} %: ${size(done)} of ${size(total)}${wait}`;
      };
      try {
        const listed = [...files.values()].map((f) => ({ name: f.name, size: f.size, stamp: String(f.lastModified) }));
        const upload = await ask("/uploads", "POST", JSON.stringify({ name: name.value.trim(), files: listed }));
        mine.id = upload.id;
        const lost = () => (told.textContent = "The connection is lost; this goes on as soon as it is back.");
        const whole = await send(upload, files, tell, lost, () => mine.stopped || !box.isConnected);
        if (whole) {
          told.textContent = "All is there; the files are checked.";
          const model = await ask(`/uploads/${upload.id}/finish`, "POST");
          const link = make("a", { href: `${root()}new?model=${encodeURIComponent(model.id)}`, textContent: "Score it" });
          told.replaceChildren(`${model.id} is here. `, link);
          link.focus();
        } else if (mine.stopped) {
          await ask(`/uploads/${upload.id}`, "DELETE");
          told.textContent = "Stopped; what was uploaded is dropped.";
        }
      } catch (error) {
        problem(error instanceof Refused ? error.message : `It did not work: ${error.message}`);
        told.textContent = mine.id ? "The upload is kept for a while; the same files go on where they were." : "";
        const drop = make("button", { type: "button", className: "plain-button", textContent: "Drop it" });
        drop.addEventListener("click", async () => {
          await ask(`/uploads/${mine.id}`, "DELETE").catch((again) => problem(again.message));
          told.textContent = "Dropped.";
          problem("");
        });
        if (mine.id) told.append(" ", drop);
      } finally {
        busy(null);
      }
    });
    stop.addEventListener("click", () => running && (running.stopped = true));
  }

  function look() {
    const box = document.getElementById("upload-box");
    if (box && !box.firstChild) build(box);
  }
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    look();
  });
})();
