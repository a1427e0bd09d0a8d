"""What the page Apply shows: the prediction of a size, and what was made from a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from frontend import snippets
from frontend.links import link
from frontend.pages.apply import use_views
from frontend.pages.shared import code, tables
from modelshapley import formatting
from modelshapley.contracts import Run, Status, Trial
from modelshapley.contracts.applications.derived import OUTCOME_FIELDS, Derived, DerivedInfo, Repairing, SizePrediction
from modelshapley.contracts.applications.recommendations import Recommendation

COLOURS = {Status.DONE: "teal", Status.FAILED: "red", Status.CANCELLED: "gray"}
COUNTED = ("Measuring candidates", "Training", "Recording", "Scaling")  # steps that have a count
MAX_CANDIDATES = 8
REPAIRS: Mapping[Repairing, str] = {
    "least-squares": "Refit the last projections",
    "means": "Fold the units' means into biases",
}


def mixture() -> Any:
    """What happens without a prediction: candidates are compared when the model is made."""
    return dmc.Text(
        "Compares several methods and mixtures of neurons, heads and layers on examples that were not scored, and "
        "removes what costs the least. Sizes and accuracies appear below while it works.",
        size="sm",
    )


def prediction(size: SizePrediction, quantity: str, trial: Trial | None) -> Any:
    """The predicted size, what the map predicts, and the accuracy as measured so far."""
    if size.status is Status.FAILED:
        return dmc.Alert(size.error or "The size could not be predicted.", color="yellow", variant="light")
    if size.bytes is None or size.parent_bytes is None:
        return dmc.Text("Computing the size …", size="sm")
    assert size.parameters is not None
    assert size.parent_parameters is not None
    assert size.off is not None
    lines = [
        html.Div(formatting.bytes_as_text(size.bytes), className="figure-now", id="apply-bytes"),
        html.Div(
            f"{size.bytes:,} bytes instead of {size.parent_bytes:,}; "
            f"{formatting.percent(size.parameters / size.parent_parameters)} of the parameters",
            className="quiet",
        ),
        use_views.row("Removed", formatting.units(size.off.deactivation().counts())),
        use_views.row("Predicted by the map", f"{formatting.score(size.predicted)}, {quantity}"),
        use_views.row("Measured", _measured(trial)),
    ]
    return dmc.Stack(lines, gap=6)


def _measured(trial: Trial | None) -> str:
    if trial is None or trial.accuracy is None:
        return (trial.error if trial is not None else None) or "measuring …"
    assert trial.interval is not None
    assert trial.difference is not None
    assert trial.difference_interval is not None
    return (
        f"accuracy {formatting.percent(trial.accuracy)} ({formatting.percent_interval(trial.interval)}), "
        f"{formatting.points(trial.difference)} ({formatting.points_interval(trial.difference_interval)}), n {trial.n}"
        f"{'' if trial.status.ended else ' so far'}"
    )


def cards(derived: list[Derived], runs: Mapping[str, Run], server: str) -> Any:
    """What was made from a run, newest first.

    runs: the newest run of each derived model, by the model's id. server: its address, for the code.
    """
    if not derived:
        return dmc.Text("Nothing has been made from this run yet.", size="sm", className="quiet")
    return dmc.Stack([_card(one, runs.get(one.model or ""), server) for one in derived], gap="md")


def _card(derived: Derived, run: Run | None, server: str) -> Any:
    colour = COLOURS.get(derived.status, "blue")
    words = "being made" if derived.status is Status.RUNNING else formatting.STATUS_WORDS[derived.status]
    head = dmc.Group(
        [
            dmc.Title(derived.name, order=3, size="h4"),
            html.Span(_what(derived), className="quiet"),
            dmc.Badge(words, color=colour, variant="light"),
        ],
        gap="sm",
    )
    content = [head, *_state(derived)]
    outcome = _outcome(derived)
    if outcome is not None:
        snippet = snippets.of_derived(server, derived.id, derived.model or derived.name, OUTCOME_FIELDS[derived.use])
        content += [outcome, _uses(derived, run), code.unfolding(snippet)]
    if derived.recommendation is not None:
        content.append(_candidates(derived.recommendation))
    content.append(_delete(derived))
    return dmc.Card(dmc.Stack(content, gap="xs"), withBorder=True, padding="md", radius="md")


def _what(derived: Derived) -> str:
    """Say what this is, and of which units."""
    shares = " and ".join(
        f"{formatting.percent(share).replace('.0', '')} of the {formatting.PLURALS[kind]}"
        for kind, share in (derived.most or {}).items()
    )
    units = shares or formatting.units(derived.off)
    scheme = f" ({derived.scheme})" if derived.scheme else ""
    return {
        "prune": "smaller",
        "finetune": f"fine-tuned, {units}",
        "quantise": f"quantised{scheme}",
        "probe": f"probe of {units}",
        "amplify": f"{units} amplified",
    }[derived.use]


def _state(derived: Derived) -> list[Any]:
    if derived.status is Status.FAILED:
        return [dmc.Text(derived.error or "It failed.", c="red", size="sm")]
    if derived.status.ended:
        return []
    done, step = derived.progress, derived.step or "Waiting for a worker"
    counted = bool(done.total) and step.startswith(COUNTED)
    count = f" ({done.done} of {done.total})" if counted else ""
    left = f", about {formatting.duration(done.eta_s)} left" if counted and done.eta_s is not None else ""
    share = 100 * done.done / done.total if done.total else 0
    bar = dmc.Progress(value=share, animated=True, **{"aria-label": f"progress of {derived.name}"})
    return [dmc.Text(f"{step}{count}{left} …", size="sm"), bar]


def _outcome(derived: Derived) -> Any:
    """What came of it; None until it is done."""
    if derived.info is not None:
        return _result(derived.info)
    if derived.finetuned is not None:
        return use_views.finetuned(derived.finetuned)
    if derived.quantised is not None:
        return use_views.quantised(derived.quantised)
    if derived.probed is not None:
        return use_views.probed(derived.probed)
    return None if derived.amplified is None else use_views.amplified(derived.amplified)


def _result(info: DerivedInfo) -> Any:
    parts = [
        use_views.row("Accuracy", use_views.accuracy(info.trial)),
        html.Div(
            [
                html.Strong("Size: "),
                f"{formatting.bytes_as_text(info.bytes)} instead of {formatting.bytes_as_text(info.parent_bytes)} "
                f"({formatting.percent(info.parameters / info.parent_parameters)} of the parameters)",
            ]
        ),
        html.Div([html.Strong("Removed: "), formatting.units(info.off)]),
        html.Div(_proof(info), className="quiet"),
    ]
    if info.repair is not None:
        outcome = "kept" if info.repair.kept else "left out, since it does not help"
        loss = f"{formatting.score(info.repair.loss_before)} to {formatting.score(info.repair.loss_after)} nats"
        parts.append(html.Div([html.Strong(f"{REPAIRS[info.repair.how]}: "), f"loss {loss}, {outcome}"]))
    parts += [html.Div(f"{reason[0].upper()}{reason[1:]}", className="quiet") for reason in info.reasons]
    return dmc.Stack(parts, gap=2)


def _proof(info: DerivedInfo) -> str:
    largest = info.reload_max_logit_difference
    logits = "are those" if largest == 0 else f"differ by at most {largest:.1g} from those"
    return f"Its logits {logits} of the parent with these units off, loaded again in a process of its own."


def _uses(derived: Derived, run: Run | None) -> Any:
    """A link to the derived model's own map, or a button that scores it; nothing for what cannot be scored."""
    if derived.model is None:
        return None
    adapter = derived.finetuned is not None and derived.finetuned.adapter
    if run is not None:
        text = "Its own map" if run.status is Status.DONE else f"Its own map ({formatting.STATUS_WORDS[run.status]})"
        own = dcc.Link(text, href=link(f"/runs/{run.id}"))
    elif derived.quantised is None and not adapter:
        own = dmc.Button("Score this model", id={"type": "apply-score", "model": derived.model}, size="xs")
    else:
        own = None
    return dmc.Group([own, _comparison(derived, run), html.Code(derived.model)], gap="md")


def _comparison(derived: Derived, run: Run | None) -> Any:
    """A link that holds the maps before and after training side by side, once the trained model is scored."""
    if derived.finetuned is None or run is None or run.status is not Status.DONE or derived.task != run.task:
        return None
    method = quote(run.methods[0], safe=",=")
    return dcc.Link("Before and after training", href=link(f"/compare?a={derived.run}:{method}&b={run.id}:{method}"))


def _candidates(recommendation: Recommendation) -> Any:
    """The verdict, and behind a click the candidates, the most accurate first."""
    order = sorted(range(len(recommendation.candidates)), key=lambda p: -recommendation.candidates[p].measured.accuracy)
    listed = list(dict.fromkeys([recommendation.best, *order]))[:MAX_CANDIDATES]
    rows: list[tuple[str, ...]] = [
        (
            candidate.name,
            formatting.percent(candidate.measured.accuracy),
            formatting.score(candidate.loss),
            formatting.percent(candidate.parameters / recommendation.parent_parameters),
        )
        for candidate in (recommendation.candidates[place] for place in listed)
    ]
    columns = ["Candidate", "Accuracy", "Loss, nats", "Parameters left"]
    if recommendation.parent_milliseconds is not None:
        columns.append(f"Pass (parent {recommendation.parent_milliseconds:.3g} ms)")
        times = [recommendation.candidates[place].milliseconds for place in listed]
        rows = [(*row, f"{time:.3g} ms") for row, time in zip(rows, times, strict=True)]
    table = tables.table(columns, rows, current=0)
    detail = html.Div(
        f"Scored on {recommendation.scored} probe examples, measured on {recommendation.measured} others. The accuracy "
        "of the best of many is flattered by the choice; the one above, on test examples, is not.",
        className="quiet",
    )
    return html.Div(
        [
            dmc.Text(recommendation.verdict, size="sm"),
            html.Details(
                [html.Summary("Candidates"), html.Div(table, className="wide-table"), detail], className="section"
            ),
        ]
    )


def _delete(derived: Derived) -> Any:
    text = "Delete" if derived.status.ended else "Cancel"
    return dmc.Group(
        dmc.Button(
            text,
            id={"type": "apply-drop", "derived": derived.id},
            variant="subtle",
            color="gray",
            size="xs",
            **{"aria-label": f"{text} {derived.name}"},
        )
    )
