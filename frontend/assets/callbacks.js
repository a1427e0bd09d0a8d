/* Client-side callbacks of the map page, by the names that pages/map.py and pages/tray.py give. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const dc = (window.dash_clientside = window.dash_clientside || {});
  const PLURAL = { neuron: "neurons", head: "heads", layer: "layers" };
  let followed = null;

  function triggered() {
    const context = dc.callback_context;
    return context && context.triggered.length ? context.triggered[0].prop_id : "";
  }

  function next(source, selection, history, click, box, ranked, figure, ticked) {
    if (source.startsWith("{")) return ticked.reduce((now, [kind, unit]) => MS.toggle(now, kind, [unit]), selection);
    if (source === "undo.n_clicks") return history.length ? history[history.length - 1] : null;
    if (source === "reset.n_clicks") return MS.empty();
    if (source === "ranked.data" && ranked) {
      // The share asked for replaces what was off of that kind; other kinds stay.
      return { ...selection, [ranked.unit]: ranked.units, ranked: ranked.how };
    }
    const meta = figure && figure.layout && figure.layout.meta;
    if (!meta) return null;
    if (source === "map.clickData" && click) return MS.clicked(selection, click, meta);
    if (source === "map.selectedData" && box) return MS.boxed(selection, box, meta);
    return null;
  }

  dc.page = {
    select(click, box, undo, reset, ranked, checked, selection, history, figure, ids) {
      const stay = dc.no_update;
      const source = triggered();
      const boxes = (now) => {
        const off = Object.fromEntries(MS.KINDS.map((k) => [k, new Set((now[k] || []).map((u) => u.join(".")))]));
        return ids.map((id) => off[id.kind].has(id.unit));
      };
      // Dash takes its time over a box that is set to what it is.
      const changed = (now) => boxes(now).map((box, i) => (box === checked[i] ? stay : box));
      // A fresh table fires too, with every box as it should be: only boxes that differ were ticked by hand.
      const before = boxes(selection);
      const ticked = ids.filter((_, i) => checked[i] !== before[i]).map((id) => [id.kind, id.unit.split(".").map(Number)]);
      const wanted = next(source, selection, history, click, box, ranked, figure, ticked);
      if (!wanted || MS.same(wanted, selection)) return [stay, stay, changed(selection), null, null];
      // A share of the ranking is remembered only while nothing else is off.
      const alone = wanted.ranked && MS.KINDS.every((k) => k === wanted.ranked.unit || !wanted[k].length);
      if (!alone) delete wanted.ranked;
      const past = source === "undo.n_clicks" ? history.slice(0, -1) : [...history, selection].slice(-50);
      MS.mark(wanted);
      return [wanted, past, changed(wanted), null, null];
    },

    draw(figure, _theme) {
      setTimeout(MS.attach, 0);
      return MS.draw(figure);
    },

    mark(selection) {
      MS.mark(selection);
      return dc.no_update;
    },

    tell(selection, history, method, unit, run) {
      const count = MS.count(selection);
      const parts = MS.KINDS.filter((k) => selection[k].length).map((k) => {
        const n = selection[k].length;
        return `${n.toLocaleString("en")} ${n === 1 ? k : PLURAL[k]}`;
      });
      const how = selection.ranked;
      const off = how ? [how.which, how.fraction, how.unit, how.method].join(":") : MS.text(selection);
      const fits = off.length < 20000;
      const query = `?method=${encodeURIComponent(method)}&unit=${unit}` + (off && fits ? `&off=${off}` : "");
      window.history.replaceState(window.history.state, "", window.location.pathname + query);
      return [
        count ? parts.join(" · ") : "Nothing is switched off",
        !history.length,
        !count,
        fits ? "" : "This selection is too long for a link; the address leaves it out.",
      ];
    },

    settle(selection) {
      MS.settle({ ...selection, session: MS.session() });
      return "tray-figures pending";
    },

    /* Grey while the figures are not those of what is switched off now. */
    present(trial, answered) {
      MS.answered(answered);
      const waiting = trial && !trial.n && !MS.ended(trial);
      return MS.settling() || waiting ? "tray-figures pending" : "tray-figures";
    },

    follow(trial) {
      const id = trial ? trial.id : null;
      if (id !== followed || !MS.following()) {
        followed = id;
        trial ? MS.follow(trial) : MS.unfollow();
      }
      return dc.no_update;
    },
  };
})();
