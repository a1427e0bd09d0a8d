"""The section of a report about one kind of unit: its map, its top units, the evidence. Pure."""

from __future__ import annotations

import numpy as np

from frontend.figures import check_curves, svg
from frontend.figures.markup import Markup, joined, table, tag
from frontend.figures.panels import pooled_panel, rows_panel
from frontend.map_cache import plane_of
from frontend.report.contents import Contents
from modelshapley import formatting
from modelshapley.contracts import Curve, RandomCurve
from modelshapley.evaluation.verdict import LEAST_TEST, MOST_TEST, entry_of, random_curve_of, verdict
from modelshapley.maps.compare import shares, top_places
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind, unit_name

TOP = 20


def section(contents: Contents, kind: UnitKind) -> Markup:
    """Write the section of one kind of unit."""
    plural = formatting.PLURALS[kind]
    importance_map = contents.maps[kind]
    data = plane_of(contents.run.id, importance_map, kind)
    is_rows = kind is UnitKind.ROW
    panel = rows_panel(data, contents.run.layout.projections) if is_rows else pooled_panel(data, svg.COLUMNS)
    pooled = " Each cell shows the highest of the units in it." if panel.pooled else ""
    signed = importance_map.signed
    sign = "Blue: the task gets worse without the unit. Brown: better." if signed else "Stronger: more important."
    entry = entry_of(contents.faithfulness, contents.computed, kind)
    random = random_curve_of(contents.faithfulness, kind)
    curves = [curve for curve in (entry.least, entry.most) if curve is not None] if entry else []
    return tag(
        "section",
        tag("h2", plural.capitalize()),
        tag("p", f"{formatting.counted(kind, panel.units)}, {importance_map.quantity}. {sign}{pooled}", class_="quiet"),
        svg.heatmap(panel, signed, f"Map of {plural}: rows are layers, the first on top"),
        tag("h3", f"Most important {plural}"),
        _top(importance_map, kind),
        *_evidence(contents, kind),
        tag("div", *(_curve(curve, random, kind) for curve in curves), class_="pair") if curves else None,
        *(_points(curve, random, kind) for curve in curves),
    )


def _top(importance_map: ImportanceMap, kind: UnitKind) -> Markup:
    scores, errors = importance_map.scores[kind], importance_map.standard_errors[kind]
    parts = shares(scores)
    count = int(np.isfinite(scores).sum())
    places = top_places(scores, min(1.0, TOP / count))[:TOP]
    rows = []
    for rank, index in enumerate(np.stack(np.unravel_index(places, scores.shape), axis=1).tolist(), start=1):
        at = tuple(index)
        score, error = formatting.score(float(scores[at])), formatting.score(float(errors[at]))
        rows.append([unit_name(kind, at), f"{rank}", f"{score} ± {error}", formatting.percent(float(parts[at]))])
    caption = f"The {len(rows)} most important {formatting.PLURALS[kind]}"
    return table(["Unit", "Rank", "Score ± standard error", "Share of total"], rows, caption)


def _evidence(contents: Contents, kind: UnitKind) -> list[Markup]:
    tests = verdict(contents.faithfulness, contents.computed, kind).findings
    entry = entry_of(contents.faithfulness, contents.computed, kind)
    lines = [f"{test.name}: {test.outcome}. {test.full}" for test in tests]
    if entry is not None and entry.halves is not None:
        lines.append(f"Two halves of the probe set agree with ρ {formatting.signed(entry.halves)}.")
    if entry is not None and entry.efficiency is not None:
        sums = entry.efficiency
        gap = f"{100 * sums.gap:+.0f}".replace("-", formatting.MINUS)
        lines.append(
            f"Sum of scores {formatting.score(sums.scores)} nats; measured with all units off "
            f"{formatting.score(sums.measured)} nats ({gap} %)."
        )
    return [tag("h3", "Evidence"), tag("ul", *(tag("li", line) for line in lines))] if lines else []


def _curve(curve: Curve, random: RandomCurve | None, kind: UnitKind) -> Markup:
    title = LEAST_TEST if curve.which == "least" else MOST_TEST
    sentence = tag("p", check_curves.sentence(curve, random, kind), class_="quiet")
    return tag("div", tag("h3", title), svg.curve(curve, random, kind), sentence)


def _points(curve: Curve, random: RandomCurve | None, kind: UnitKind) -> Markup:
    by_share = {} if random is None else dict(zip(random.fractions, check_curves.ranges(random), strict=True))
    rows = [
        [
            f"{100 * p.fraction:g} % ({formatting.counted(kind, p.units)})",
            f"{formatting.percent(p.accuracy)} ({formatting.percent_interval(p.interval)})",
            f"{formatting.points(p.difference)} ({formatting.points_interval(p.difference_interval)})",
            by_share.get(p.fraction, "not measured"),
        ]
        for p in curve.points
    ]
    caption = f"Accuracy with the {curve.which} important {formatting.PLURALS[kind]} off, n {curve.points[0].n}"
    return joined(
        [
            tag("h3", caption),
            table(["Off", "Accuracy", "Change from intact", "Random orders (lowest to highest)"], rows, caption),
        ]
    )
