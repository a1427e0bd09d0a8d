/* Uploads a model's files in pieces, one after the other; an interrupted upload resumes. The form is built here, since
   dcc.Upload (Dash 4.4) has no accessible file field. */
(function () {
  const { api, make, root } = window.modelShapley;
  const RETRY_MS = 2000;
  const ETA_AFTER_MS = 1500; // earlier, the rate says little

  class Refused extends Error {}

  /* Return an answer of the API, or throw its error with its message. Without any answer fetch throws a TypeError. */
  async function ask(path, method = "GET", body = null, kind = "application/json") {
    const headers = body === null ? {} : { "Content-Type": kind };
    const answer = await fetch(api(path), { method, body, headers, cache: "no-store" });
    if (answer.status === 204) return null;
    const content = await answer.json();
    if (answer.ok) return content;
    if (answer.status >= 500) throw new TypeError(content.detail);
    throw Object.assign(new Refused(content.detail), { status: answer.status });
  }

  const size = (n) =>
    n < 1024 ? `${n} B` : n < 2 ** 20 ? `${(n / 1024).toFixed(0)} KiB` : n < 2 ** 30 ? `${(n / 2 ** 20).toFixed(1)} MiB` : `${(n / 2 ** 30).toFixed(2)} GiB`;
  const left = (s) => (s < 90 ? `${Math.max(1, Math.round(s))} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);
  const suggestedName = (folder) =>
    folder.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 80);
  const fits = (name, patterns) => patterns.some((p) => (p.startsWith("*") ? name.endsWith(p.slice(1)) && name.length >= p.length : p === name));

  /* Send every byte that the server does not have. Calls `progress(done, total)`, and `lost()` while there is no
     connection; `stopped()` ends it between two pieces. Resolves to whether everything was sent. */
  async function send(upload, files, progress, lost, stopped) {
    const total = upload.files.reduce((sum, file) => sum + file.size, 0);
    let state = upload;
    while (!stopped()) {
      const file = state.files.find((f) => f.done < f.size);
      progress(state.files.reduce((sum, f) => sum + f.done, 0), total);
      if (!file) return true;
      try {
        const piece = files.get(file.name).slice(file.done, file.done + upload.piece);
        const path = `/uploads/${upload.id}/files/${encodeURIComponent(file.name)}?offset=${file.done}`;
        const stored = await ask(path, "PUT", await piece.arrayBuffer(), "application/octet-stream");
        state = { ...state, files: state.files.map((f) => (f.name === stored.name ? stored : f)) };
      } catch (error) {
        if (error instanceof DOMException) throw new Refused(`${file.name} has changed on your disk. Choose the files again.`);
        if (!(error instanceof TypeError) && error.status !== 409) throw error;
        if (error instanceof TypeError) {
          lost();
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
        // Only the server knows whether the piece arrived before the connection was lost.
        const before = file.done;
        state = await ask(`/uploads/${upload.id}`).catch((failure) => {
          if (failure instanceof TypeError) return state;
          throw failure;
        });
        // A conflict that the server's own state does not explain would come back forever.
        if (error.status === 409 && state.files.find((f) => f.name === file.name).done === before) throw error;
      }
    }
    return false;
  }

  /* What other forms that upload need (upload-data.js). */
  window.modelShapley.uploads = { ask, send, size, suggestedName, progressOf, Refused };

  /* The form's elements, in the box. */
  function createForm(box) {
    const field = (label, input, hint) => {
      const id = `${input.id}-hint`;
      if (hint) input.setAttribute("aria-describedby", id);
      return make("div", {}, make("label", { htmlFor: input.id, textContent: label }), input, hint ? make("div", { id, className: "quiet", textContent: hint }) : "");
    };
    const form = {
      name: make("input", { id: "upload-name", className: "upload-field", maxLength: 80, autocomplete: "off", spellcheck: false }),
      folder: make("input", { id: "upload-folder", type: "file", className: "upload-field", webkitdirectory: true, multiple: true }),
      list: make("input", { id: "upload-files", type: "file", className: "upload-field", multiple: true }),
      start: make("button", { id: "upload-start", type: "button", className: "upload-button", textContent: "Upload", disabled: true }),
      stop: make("button", { id: "upload-stop", type: "button", className: "plain-button", textContent: "Stop and discard", hidden: true }),
      bar: make("progress", { id: "upload-bar", max: 1, value: 0, hidden: true, ariaLabel: "share of the files uploaded" }),
      message: make("div", { id: "upload-message", role: "status", className: "quiet" }),
      problem: make("div", { id: "upload-problem", role: "alert", className: "problem" }),
    };
    box.append(
      field("Model folder", form.folder, "Uploads config.json, *.safetensors and the tokenizer's files; skips all others."),
      field("Or single files", form.list),
      field("Model name", form.name, "Letters, digits, dots and dashes. The model becomes local:NAME."),
      make("div", { className: "one-line" }, form.start, form.stop), form.bar, form.message, form.problem,
    );
    return form;
  }

  /* The files that a model needs, by name, and a summary of them. Folders inside the folder are left out. */
  function selectFiles(input, limits) {
    const all = [...input.files].filter((f) => !f.webkitRelativePath || f.webkitRelativePath.split("/").length === 2);
    const needed = all.filter((f) => fits(f.name, limits.upload_files) && f.size > 0);
    const files = new Map(needed.map((f) => [f.name, f]));
    const skipped = all.filter((f) => !files.has(f.name)).map((f) => f.name);
    const bytes = needed.reduce((sum, f) => sum + f.size, 0);
    const list = skipped.length ? `; skipped: ${skipped.slice(0, 6).join(", ")}${skipped.length > 6 ? " …" : ""}` : "";
    const folder = all.length && all[0].webkitRelativePath ? all[0].webkitRelativePath.split("/")[0] : "";
    return { files, folder, summary: `${needed.length} files, ${size(bytes)}${list}` };
  }

  /* A function that shows progress in the form, with the time left once the rate is known. */
  function progressOf(form) {
    const began = performance.now();
    let before = null;
    return (done, total) => {
      before = before === null ? done : before;
      form.bar.value = done / total;
      const s = (performance.now() - began) / 1000;
      const rate = (done - before) / s;
      const eta = rate > 0 && s * 1000 > ETA_AFTER_MS ? `, ${left((total - done) / rate)} left` : "";
      form.message.textContent = `${Math.floor((100 * done) / total)} %: ${size(done)} of ${size(total)}${eta}`;
    };
  }

  /* Upload the files and have the server check them. `job`: {stopped, id}; its id is set here. */
  async function upload(box, form, files, job) {
    const listed = [...files.values()].map((f) => ({ name: f.name, size: f.size, stamp: String(f.lastModified) }));
    const created = await ask("/uploads", "POST", JSON.stringify({ name: form.name.value.trim(), files: listed }));
    job.id = created.id;
    const lost = () => (form.message.textContent = "Connection lost. The upload resumes when it is back.");
    const whole = await send(created, files, progressOf(form), lost, () => job.stopped || !box.isConnected);
    if (whole) {
      form.message.textContent = "Upload complete. Checking the files …";
      const model = await ask(`/uploads/${created.id}/finish`, "POST");
      const link = make("a", { href: `${root()}new?model=${encodeURIComponent(model.id)}`, textContent: "Score it" });
      form.message.replaceChildren(`Uploaded ${model.id}; it is selected above. `, link);
      window.dash_clientside.set_props("form-uploaded", { data: model.id });
      link.focus();
    } else if (job.stopped) {
      await ask(`/uploads/${created.id}`, "DELETE");
      form.message.textContent = "Stopped. The uploaded files were discarded.";
    }
  }

  /* Say what went wrong; an upload that has begun can be resumed or discarded. */
  function showFailure(form, error, job) {
    form.problem.textContent = error instanceof Refused ? error.message : `The upload failed: ${error.message}`;
    form.message.textContent = job.id ? "Choose the same files to resume." : "";
    const discard = make("button", { type: "button", className: "plain-button", textContent: "Discard" });
    discard.addEventListener("click", async () => {
      form.problem.textContent = "";
      try {
        await ask(`/uploads/${job.id}`, "DELETE");
        form.message.textContent = "Discarded.";
      } catch (failure) {
        form.problem.textContent = failure.message;
      }
    });
    if (job.id) form.message.append(" ", discard);
  }

  function build(box) {
    const form = createForm(box);
    let files = new Map();
    let limits = null;
    let running = null;

    const refresh = () => (form.start.disabled = running !== null || !files.size || !form.name.value.trim());

    async function choose(input) {
      form.problem.textContent = "";
      try {
        limits = limits || (await ask("/limits"));
      } catch (error) {
        form.problem.textContent = `The server does not respond: ${error.message}`;
        return;
      }
      const selected = selectFiles(input, limits);
      files = selected.files;
      form.message.textContent = selected.summary;
      if (selected.folder && !form.name.value) form.name.value = suggestedName(selected.folder);
      (input === form.folder ? form.list : form.folder).value = "";
      refresh();
    }

    function setRunning(job) {
      running = job;
      form.bar.hidden = form.stop.hidden = job === null;
      for (const input of [form.name, form.folder, form.list]) input.disabled = job !== null;
      refresh();
    }

    form.name.addEventListener("input", refresh);
    form.folder.addEventListener("change", () => choose(form.folder));
    form.list.addEventListener("change", () => choose(form.list));
    form.stop.addEventListener("click", () => running && (running.stopped = true));
    form.start.addEventListener("click", async () => {
      const job = { stopped: false, id: null };
      setRunning(job);
      form.problem.textContent = "";
      try {
        await upload(box, form, files, job);
      } catch (error) {
        showFailure(form, error, job);
      } finally {
        setRunning(null);
      }
    });
  }

  window.modelShapley.fillBoxes("upload-box", build);
})();
