/* Client-side callbacks of the map page, by the names that pages/map.py and the pages beside it give. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const dc = (window.dash_clientside = window.dash_clientside || {});
  const PLURAL = { neuron: "neurons", head: "heads", layer: "layers", expert: "experts", row: "rows" };
  let followed = null;

  function triggered() {
    const context = dc.callback_context;
    return context && context.triggered.length ? context.triggered[0].prop_id : "";
  }

  function treatmentOf({ how, factor, offset }) {
    if (how === "mean") return { how, value: 0 };
    if (how === "offset") return { how, value: offset };
    return { how: "scale", value: how === "scale" ? factor : 0 };
  }

  /* What the controls of the treatment show for a selection. A factor of 0 is off, but a hand that has just moved the
     slider there keeps its slider. */
  function controlsOf(selection, shown) {
    const { how, value } = selection.treatment || MS.OFF;
    if (how === "mean") return { ...shown, how };
    if (how === "offset") return { ...shown, how, offset: value };
    if (value === 0) return shown.how === "scale" && shown.factor === 0 ? shown : { ...shown, how: "off" };
    return { ...shown, how, factor: value };
  }

  function next(source, selection, history, ranked, taken, touched, shown) {
    if (source === "undo.n_clicks") return history.length ? history[history.length - 1] : null;
    if (source === "reset.n_clicks") return MS.empty();
    if (source === "ranked.data" && ranked) {
      // The share asked for replaces what was off of that kind; other kinds stay.
      return { ...selection, [ranked.unit]: ranked.units, ranked: ranked.how };
    }
    // A trial of the list, or groups: in the place of all that is chosen now.
    if (source === "taken.data" && taken)
      return { ...MS.empty(), ...taken.units, treatment: taken.treatment || selection.treatment };
    if (/^(how|factor|offset)\.value$/.test(source)) return { ...selection, treatment: treatmentOf(shown) };
    if (source === "touched.data" && touched) {
      const change = touched.add ? MS.add : MS.toggle;
      return change(selection, touched.kind, touched.units);
    }
    return null;
  }

  /* As frontend/display.py writes it. */
  const lookOf = (colour, log, ordered) =>
    [colour === "score" ? "" : colour, log ? "log" : "", ordered ? "sorted" : ""].filter(Boolean).join(",");

  dc.page = {
    select(undo, reset, ranked, taken, touched, how, factor, offset, selection, history) {
      const stay = dc.no_update;
      const source = triggered();
      const shown = { how, factor, offset };
      const controls = (now) => {
        const wanted = controlsOf(now, shown);
        return Object.keys(shown).map((name) => (wanted[name] === shown[name] ? stay : wanted[name]));
      };
      const wanted = next(source, selection, history, ranked, taken, touched, shown);
      if (!wanted || MS.same(wanted, selection)) return [stay, stay, ...controls(selection)];
      // A share of the ranking is remembered only while nothing else is off.
      const alone = wanted.ranked && MS.KINDS.every((k) => k === wanted.ranked.unit || !wanted[k].length);
      if (!alone) delete wanted.ranked;
      const past = source === "undo.n_clicks" ? history.slice(0, -1) : [...history, selection].slice(-50);
      MS.mark(wanted);
      return [wanted, past, ...controls(wanted)];
    },

    look(method, colour, log, ordered, label, _theme) {
      if (method) MS.look({ method, look: lookOf(colour, log, ordered), class: label || "" });
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

    plain: (figure, _theme) => MS.draw(figure),

    mark(selection) {
      MS.mark(selection);
      return dc.no_update;
    },

    tell(selection, history, method, unit, how, colour, log, ordered, label) {
      const count = MS.count(selection);
      const parts = MS.KINDS.filter((k) => selection[k].length).map((k) => {
        const n = selection[k].length;
        return `${n.toLocaleString("en")} ${n === 1 ? k : PLURAL[k]}`;
      });
      const ranked = selection.ranked;
      const off = ranked ? [ranked.which, ranked.fraction, ranked.unit, ranked.method].join(":") : MS.text(selection);
      const done = MS.treatmentText(selection), words = MS.treatmentWords(selection);
      const fits = off.length < 20000;
      const look = lookOf(colour, log, ordered);
      const query =
        `?method=${encodeURIComponent(method)}&unit=${unit}` +
        (off && fits ? `&off=${off}` : "") + (done && (fits || !off) ? `&do=${done}` : "") +
        (look ? `&look=${look}` : "") + (label ? `&class=${encodeURIComponent(label)}` : "");
      window.history.replaceState(window.history.state, "", window.location.pathname + query);
      return [
        count ? parts.join(" · ") + (done ? `, ${words}` : "") : done ? "No units chosen" : "Nothing is switched off",
        !history.length,
        !count && !done,
        fits ? "" : "This selection is too long for a link; the address leaves it out.",
        done ? `Chosen units are not off, but ${words}` : "Instead of off …",
        how === "scale" ? {} : { display: "none" },
        how === "offset" ? {} : { display: "none" },
      ];
    },

    settle(selection, precision, _clicks) {
      const all = precision === "all" || triggered() === "measure-all.n_clicks";
      MS.settle({ ...selection, half_width: all ? null : Number(precision), session: MS.session() });
      return "tray-figures pending";
    },

    /* Grey while the figures are not those of what is switched off now. The button that measures the rest. */
    present(trial, answered, drawn) {
      MS.answered(answered);
      if (trial && trial.status === "cancelled") MS.overtaken();
      const here = trial && (drawn || "").startsWith(`${trial.id} `);
      const waiting = trial && (!here || (!trial.n && !MS.ended(trial)));
      const early = trial && trial.status === "done" && trial.n < trial.total;
      return [MS.settling() || waiting ? "tray-figures pending" : "tray-figures", !early];
    },

    drawn() {
      MS.drawn();
      return dc.no_update;
    },

    follow(trial) {
      const id = trial ? trial.id : null;
      if (id !== followed || !MS.following()) {
        followed = id;
        trial ? MS.follow(trial) : MS.unfollow();
      }
      return dc.no_update;
    },

    /* What others may change is asked for only while it is seen, and one question at a time. */
    triedDue: (tick, busy) => due("tried", tick, busy),
    groupsDue: (tick, busy) => due("groups", tick, busy),
  };

  function due(id, tick, busy) {
    const unfolded = document.getElementById(id);
    const seen = unfolded && unfolded.open && document.visibilityState === "visible";
    return seen && !busy ? `tick ${tick}` : dc.no_update;
  }

  // Not only after the next tick, but as it is unfolded. `toggle` does not bubble.
  document.addEventListener("toggle", ({ target }) => {
    if (["tried", "groups"].includes(target.id) && target.open)
      dc.set_props(`${target.id}-ask`, { data: `opened ${performance.now()}` });
    if (["behind", "counts"].includes(target.id)) dc.set_props(`${target.id}-open`, { data: target.open });
  }, true);
})();
