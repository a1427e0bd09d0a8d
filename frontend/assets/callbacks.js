/* Client-side callbacks of the map page, under the names that frontend/pages/map/*.py use. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const dc = (window.dash_clientside = window.dash_clientside || {});
  const PLURAL = { neuron: "neurons", head: "heads", layer: "layers", expert: "experts", row: "rows" };
  let followedTrial = null;

  function triggered() {
    const context = dc.callback_context;
    return context && context.triggered.length ? context.triggered[0].prop_id : "";
  }

  function treatmentOf({ how, factor, offset }) {
    if (how === "mean") return { how, value: 0 };
    if (how === "offset") return { how, value: offset };
    return { how: "scale", value: how === "scale" ? factor : 0 };
  }

  /* The positions of the treatment controls for a selection. A factor of 0 is the same as off, but somebody who has
     just dragged the slider to 0 keeps the slider. */
  function controlsOf(selection, current) {
    const { how, value } = selection.treatment || MS.OFF;
    if (how === "mean") return { ...current, how };
    if (how === "offset") return { ...current, how, offset: value };
    if (value === 0) return current.how === "scale" && current.factor === 0 ? current : { ...current, how: "off" };
    return { ...current, how, factor: value };
  }

  /* The selection after the event `source`; null where the event changes nothing. */
  function nextSelection(source, selection, ranked, loaded, touched, controls) {
    if (source === "undo.n_clicks") {
      if (MS.depth()) window.history.back();
      return null;
    }
    if (source === "reset.n_clicks") return MS.empty();
    if (source === "ranked.data" && ranked) {
      // The requested share replaces the units of that kind; other kinds stay.
      return { ...selection, [ranked.unit]: ranked.units, ranked: ranked.how };
    }
    // An entry of the browser's history, a past trial or a group replaces the whole selection.
    if (source === "loaded.data" && loaded && loaded.selection) return loaded.selection;
    if (source === "loaded.data" && loaded)
      return { ...MS.empty(), ...loaded.units, treatment: loaded.treatment || selection.treatment };
    if (/^(how|factor|offset)\.value$/.test(source)) return { ...selection, treatment: treatmentOf(controls) };
    return source === "touched.data" ? touched : null;
  }

  /* As frontend/display.py writes it. */
  const lookOf = (colour, log, ordered) =>
    [colour === "score" ? "" : colour, log ? "log" : "", ordered ? "sorted" : ""].filter(Boolean).join(",");

  dc.page = {
    select(undo, reset, ranked, loaded, touched, how, factor, offset, selection) {
      const unchanged = dc.no_update;
      const source = triggered();
      const current = { how, factor, offset };
      const controls = (forSelection) => {
        const target = controlsOf(forSelection, current);
        return Object.keys(current).map((name) => (target[name] === current[name] ? unchanged : target[name]));
      };
      const next = nextSelection(source, MS.withClicks(selection), ranked, loaded, touched, current);
      if (next && next !== touched) MS.mark(next); // what clicks make is marked already
      if (!next || MS.same(next, selection)) return [unchanged, ...controls(selection)];
      // A share of the ranking describes the selection only while no other unit is in it.
      const alone = next.ranked && MS.KINDS.every((k) => k === next.ranked.unit || !next[k].length);
      if (!alone) delete next.ranked;
      return [next, ...controls(next)];
    },

    showMap(method, colour, log, ordered, label, _theme) {
      if (method) MS.showMap({ method, look: lookOf(colour, log, ordered), class: label || "" });
      return dc.no_update;
    },

    zoom(..._clicks) {
      const button = triggered().split(".")[0];
      if (button) MS.zoom(button.replace("zoom-", ""));
      return dc.no_update;
    },

    table(top, selection) {
      if (top) MS.table(top, selection);
      return dc.no_update;
    },

    themed: (figure, _theme) => MS.draw(figure),

    mark(selection) {
      MS.markTaken(selection);
      return dc.no_update;
    },

    /* The tray's summary of the selection, and the address of the page, which holds the same. The figures turn grey in
       the same frame: those of another selection never stand beside this one. */
    describe(selection, method, unit, how, colour, log, ordered, label) {
      const count = MS.count(selection);
      const parts = MS.KINDS.filter((k) => selection[k].length).map((k) => {
        const n = selection[k].length;
        return `${n.toLocaleString("en")} ${n === 1 ? k : PLURAL[k]}`;
      });
      const ranked = selection.ranked;
      const off = ranked ? [ranked.which, ranked.fraction, ranked.unit, ranked.method].join(":") : MS.text(selection);
      const treatment = MS.treatmentText(selection), description = MS.treatmentDescription(selection);
      const fits = off.length < 20000; // servers and chats cut longer addresses
      const look = lookOf(colour, log, ordered);
      const query =
        `?method=${encodeURIComponent(method)}&unit=${unit}` +
        (off && fits ? `&off=${off}` : "") + (treatment && (fits || !off) ? `&do=${treatment}` : "") +
        (look ? `&look=${look}` : "") + (label ? `&class=${encodeURIComponent(label)}` : "");
      MS.writeAddress(query, selection);
      return [
        count ? parts.join(" · ") + (treatment ? `, ${description}` : "") : treatment ? "No units selected" : "Nothing is switched off",
        !MS.depth(),
        !count && !treatment,
        fits ? "" : "Too many units for a link. The address leaves them out.",
        treatment ? `Intervention: selected units ${description}` : "Other interventions",
        how === "scale" ? {} : { display: "none" },
        how === "offset" ? {} : { display: "none" },
        `${MS.root()}try?run=${window.location.pathname.split("/").filter(Boolean).pop()}&${query.slice(1)}`,
        triggered().startsWith("selection.") ? "tray-figures pending" : dc.no_update,
      ];
    },

    settle(selection, precision, _clicks) {
      const all = precision === "all" || triggered() === "measure-all.n_clicks";
      MS.settle({ ...selection, half_width: all ? null : Number(precision), session: MS.session() });
      return "tray-figures pending";
    },

    /* Grey out the figures until they are those of the current selection. Hide "Measure all" unless a trial stopped early. */
    present(trial, answered, rendered) {
      MS.answered(answered);
      if (trial && !MS.settling()) MS.tellState(trial);
      if (trial && trial.status === "cancelled") MS.overtaken();
      const visible = trial ? (rendered || "").startsWith(`${trial.id} `) : rendered === "intact";
      const waiting = !visible || (trial && !trial.n && !MS.ended(trial));
      const early = trial && trial.status === "done" && trial.n < trial.total;
      return [MS.settling() || waiting ? "tray-figures pending" : "tray-figures", !early];
    },

    rendered() {
      MS.rendered();
      return dc.no_update;
    },

    follow(trial) {
      const id = trial ? trial.id : null;
      if (id !== followedTrial || !MS.following()) {
        followedTrial = id;
        trial ? MS.follow(trial) : MS.unfollow();
      }
      return dc.no_update;
    },

    /* Lists that others may change are fetched only while they are visible, one request at a time. */
    pastTrialsDue: (tick, busy) => due("past-trials", tick, busy),
    groupsDue: (tick, busy) => due("groups", tick, busy),
  };

  function due(id, tick, busy) {
    const section = document.getElementById(id);
    const visible = section && section.open && document.visibilityState === "visible";
    return visible && !busy ? `tick ${tick}` : dc.no_update;
  }

  // Fetch a list as soon as its section is opened, not at the next tick. Capture, since `toggle` does not bubble.
  document.addEventListener("toggle", ({ target }) => {
    if (["past-trials", "groups"].includes(target.id) && target.open)
      dc.set_props(`${target.id}-request`, { data: `opened ${performance.now()}` });
    if (["trial-details", "counts"].includes(target.id)) dc.set_props(`${target.id}-open`, { data: target.open });
  }, true);
})();
