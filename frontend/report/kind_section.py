"""The part of a report about one kind of unit: its map, its top, and whether it is true. Pure."""

from __future__ import annotations

import numpy as np

from frontend.figures import check_curves, svg
from frontend.figures.markup import Markup, joined, table, tag
from frontend.figures.panels import panel, rows_panel
from frontend.map_cache import plane_of
from frontend.report.contents import Contents
from modelshapley import formatting
from modelshapley.contracts import Curve, RandomCurve
from modelshapley.evaluation.verdict import entry_of, random_curve_of, verdict
from modelshapley.maps.compare import shares, top_places
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind, unit_name

TOP = 20


def section(found: Contents, kind: UnitKind) -> Markup:
    plural = formatting.PLURALS[kind]
    held = found.maps[kind]
    data = plane_of(found.run.id, held, kind)
    of_maps = kind is UnitKind.ROW
    shown = rows_panel(data, found.run.layout.projections) if of_maps else panel(data, svg.COLUMNS)
    pooled = " Each cell is the strongest of the units drawn in it." if shown.pooled else ""
    sign = "Blue: the task is worse without the unit; brown: better." if held.signed else "Stronger: needed more."
    entry = entry_of(found.faithfulness, found.computed, kind)
    chance = random_curve_of(found.faithfulness, kind)
    measured = [curve for curve in (entry.least, entry.most) if curve is not None] if entry else []
    return tag(
        "section",
        tag("h2", plural.capitalize()),
        tag("p", f"{formatting.counted(kind, shown.units)}, {held.quantity}. {sign}{pooled}", class_="quiet"),
        svg.heatmap(shown, held.signed, f"Map of {plural}: rows are layers, the first on top"),
        tag("h3", f"Most important {plural}"),
        _top(held, kind),
        *_checked(found, kind),
        tag("div", *(_curve(curve, chance, kind) for curve in measured), class_="pair") if measured else None,
        *(_points(curve, chance, kind) for curve in measured),
    )


def _top(held: ImportanceMap, kind: UnitKind) -> Markup:
    scores, errors, parts = held.scores[kind], held.standard_errors[kind], shares(held.scores[kind])
    count = int(np.isfinite(scores).sum())
    places = top_places(scores, min(1.0, TOP / count))[:TOP]
    rows = []
    for rank, index in enumerate(np.stack(np.unravel_index(places, scores.shape), axis=1).tolist(), start=1):
        at = tuple(index)
        score, error = formatting.score(float(scores[at])), formatting.score(float(errors[at]))
        rows.append([unit_name(kind, at), f"{rank}", f"{score} ± {error}", formatting.percent(float(parts[at]))])
    caption = f"The {len(rows)} most important {formatting.PLURALS[kind]}"
    return table(["Unit", "Rank", "Score ± standard error", "Share of all"], rows, caption)


def _checked(found: Contents, kind: UnitKind) -> list[Markup]:
    told = verdict(found.faithfulness, found.computed, kind)
    entry = entry_of(found.faithfulness, found.computed, kind)
    lines = [f"{finding.name.capitalize()}, {finding.outcome}: {finding.full}." for finding in told.findings]
    if entry is not None and entry.halves is not None:
        lines.append(f"Two halves of the probe set order them alike by ρ {formatting.signed(entry.halves)}.")
    if entry is not None and entry.efficiency is not None:
        sums = entry.efficiency
        gap = f"{100 * sums.gap:+.0f}".replace("-", formatting.MINUS)
        lines.append(
            f"Scores sum to {formatting.score(sums.scores)} nats, all units together are worth "
            f"{formatting.score(sums.measured)} ({gap} %)."
        )
    return [tag("h3", "Is it true?"), tag("ul", *(tag("li", line) for line in lines))] if lines else []


def _curve(curve: Curve, chance: RandomCurve | None, kind: UnitKind) -> Markup:
    title = f"The {curve.which} important off first"
    said = tag("p", check_curves.sentence(curve, chance, kind), class_="quiet")
    return tag("div", tag("h3", title), svg.curve(curve, chance, kind), said)


def _points(curve: Curve, chance: RandomCurve | None, kind: UnitKind) -> Markup:
    random = {} if chance is None else dict(zip(chance.fractions, check_curves.ranges(chance), strict=True))
    rows = [
        [
            f"{100 * p.fraction:g} % ({formatting.counted(kind, p.units)})",
            f"{formatting.percent(p.accuracy)} ({formatting.percent_interval(p.interval)})",
            f"{formatting.points(p.difference)} ({formatting.points_interval(p.difference_interval)})",
            random.get(p.fraction, "not measured"),
        ]
        for p in curve.points
    ]
    caption = f"Accuracy with the {curve.which} important {formatting.PLURALS[kind]} off, n {curve.points[0].n}"
    return joined(
        [
            tag("h3", caption),
            table(["Off", "Right", "Against intact", "Random orders (lowest to highest)"], rows, caption),
        ]
    )
