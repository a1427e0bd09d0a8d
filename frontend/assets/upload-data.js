/* Uploads data for a task in pieces, as upload.js does for models, and waits while the server inspects them. */
(function () {
  const { make } = window.modelShapley;
  const POLL_MS = 400;
  const shared = () => window.modelShapley.uploads; // upload.js is loaded later

  const suffix = (name) => (name.match(/\.[A-Za-z]+$/) || [""])[0].toLowerCase();
  const stem = (name) => name.slice(0, name.length - suffix(name).length);

  /* The form's elements, in the box. All but the file field appear once files are chosen. */
  function createForm(box) {
    const form = {
      files: make("input", { id: "data-files", type: "file", className: "upload-field", multiple: true, accept: ".csv,.jsonl,.parquet,.zip" }),
      name: make("input", { id: "data-name", className: "upload-field", maxLength: 80, autocomplete: "off", spellcheck: false }),
      start: make("button", { id: "data-start", type: "button", className: "upload-button", textContent: "Upload" }),
      stop: make("button", { id: "data-stop", type: "button", className: "plain-button", textContent: "Stop and discard", hidden: true }),
      bar: make("progress", { id: "data-bar", max: 1, value: 0, hidden: true, ariaLabel: "share of the data that is uploaded or checked" }),
      message: make("div", { id: "data-message", role: "status", className: "quiet" }),
      problem: make("div", { id: "data-problem", role: "alert", className: "problem" }),
    };
    const hint = "csv, jsonl or parquet, or a zip of pictures with a folder for each class. Files of splits are called train, validation, test.";
    form.files.setAttribute("aria-describedby", "data-files-hint");
    form.drop = make("div", { className: "drop data-drop" },
      make("label", { htmlFor: "data-files", textContent: "Drop a data file here, or choose one" }),
      form.files, make("div", { id: "data-files-hint", className: "quiet", textContent: hint }));
    form.chosen = make("div", { className: "data-chosen", hidden: true },
      make("label", { htmlFor: "data-name", textContent: "Name of the data" }), form.name,
      make("div", { className: "one-line" }, form.start, form.stop));
    box.append(form.drop, form.chosen, form.bar, form.message, form.problem);
    return form;
  }

  /* The files by the names that the server takes: splits keep theirs, a single file gets that of the data. */
  const named = (files, name) => new Map(files.map((f) => [files.length === 1 ? name + suffix(f.name) : stem(f.name).toLowerCase() + suffix(f.name), f]));

  /* Wait until the server has inspected the data. Resolves to whether they can be used; throws what is wrong. */
  async function inspect(form, id, job) {
    const { ask, Refused } = shared();
    let state = await ask(`/uploads/${id}/finish`, "POST");
    while (state.state !== "failed") {
      if (job.stopped) return false;
      form.bar.value = state.checked;
      form.message.textContent = `Checking the data … ${Math.floor(100 * state.checked)} %`;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      try {
        state = (await ask("/uploads")).find((other) => other.id === id); // a 404 would be an error in the console
        if (!state) return !job.stopped; // the data are in their place
        if (state.state === "receiving") state = await ask(`/uploads/${id}/finish`, "POST"); // the server was restarted
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        form.message.textContent = "Connection lost. Waiting for it …";
      }
    }
    await ask(`/uploads/${id}`, "DELETE");
    job.id = null;
    throw new Refused(state.problem);
  }

  /* Upload the files and have the server inspect them. `job`: {stopped, id}; its id is set here. */
  async function upload(box, form, files, job) {
    const { ask, send, progressOf } = shared();
    const name = form.name.value.trim();
    const byName = named(files, name);
    const listed = [...byName].map(([n, f]) => ({ name: n, size: f.size, stamp: String(f.lastModified) }));
    const created = await ask("/uploads", "POST", JSON.stringify({ kind: "data", name, files: listed }));
    job.id = created.id;
    const lost = () => (form.message.textContent = "Connection lost. The upload resumes when it is back.");
    const sent = await send(created, byName, progressOf(form), lost, () => job.stopped || !box.isConnected);
    if (sent && (await inspect(form, created.id, job))) {
      form.message.textContent = "";
      window.dash_clientside.set_props("data-uploaded", { data: `${name} ${Date.now()}` });
      return true;
    }
    if (job.stopped) {
      await ask(`/uploads/${created.id}`, "DELETE").catch(() => null);
      form.message.textContent = "Stopped. The uploaded files were discarded.";
    }
    return false;
  }

  function build(box) {
    const form = createForm(box);
    let files = [];
    let running = null;
    const refresh = () => (form.start.disabled = running !== null || !files.length || !form.name.value.trim());

    function choose(chosen) {
      files = [...chosen];
      form.problem.textContent = "";
      form.chosen.hidden = !files.length;
      if (!files.length) return;
      const empty = files.find((f) => f.size === 0);
      form.message.textContent = `${files.map((f) => f.name).join(", ")}: ${shared().size(files.reduce((sum, f) => sum + f.size, 0))}`;
      if (empty) {
        form.problem.textContent = `${empty.name} is empty. Choose another file.`;
        files = [];
      } else {
        form.name.value = shared().suggestedName(stem(files[0].name)).replace(/[-._]+$/, "");
      }
      refresh();
    }

    function setRunning(job) {
      running = job;
      form.bar.hidden = form.stop.hidden = job === null;
      form.name.disabled = form.files.disabled = job !== null;
      refresh();
    }

    form.files.addEventListener("change", () => choose(form.files.files));
    form.name.addEventListener("input", refresh);
    form.stop.addEventListener("click", () => running && (running.stopped = true));
    for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      form.drop.addEventListener(event, (e) => {
        e.preventDefault(); // or the browser would open the file
        form.drop.classList.toggle("over", over);
        if (event === "drop" && running === null) choose(e.dataTransfer.files);
      });
    }
    form.start.addEventListener("click", async () => {
      const job = { stopped: false, id: null };
      setRunning(job);
      form.problem.textContent = "";
      try {
        if (await upload(box, form, files, job)) {
          form.files.value = "";
          form.chosen.hidden = true;
        }
      } catch (error) {
        form.problem.textContent = error instanceof shared().Refused ? error.message : `The upload failed: ${error.message}`;
        form.message.textContent = job.id ? "Press Upload again to resume." : "";
        if (!job.id) form.files.value = ""; // or choosing the same file, corrected, would be no change
      } finally {
        setRunning(null);
      }
    });
  }

  window.modelShapley.fillBoxes("data-box", build);
})();
