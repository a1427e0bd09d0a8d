"""Numbers, times and states as text, consistent on all screens and in all messages. Pure, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import floor, isfinite, log10

from modelshapley.contracts import Fetching, Interval, Measured, MethodInfo, Run, Status
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.units import OFF, Treatment, UnitKind

MINUS = "\u2212"
PLURALS = {
    UnitKind.NEURON: "neurons",
    UnitKind.HEAD: "heads",
    UnitKind.LAYER: "layers",
    UnitKind.EXPERT: "experts",
    UnitKind.ROW: "rows",
}
KINDS_OF_TASK = {
    "image-classification": "Image classification",
    "text-classification": "Text classification",
    "multiple-choice": "Multiple choice",
    "generation": "Written answer",
    "language-modelling": "Language modelling",
    "counterfactual": "Counterfactual pairs",
}
STATUS_WORDS = {
    Status.QUEUED: "waiting",
    Status.RUNNING: "scoring",
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


def bytes_as_text(count: float) -> str:
    """Format bytes: '812 B', '3.1 MiB', '12 GiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}" if unit != "B" and count < 10 else f"{count:,.0f} {unit}"


def percent(share: float) -> str:
    """Format a share: 0.8144 -> '81.4 %'; a negative one with a true minus."""
    return f"{100 * share:.1f} %".replace("-", MINUS)


def share(part: float) -> str:
    """Format a share of a total, which may be tiny: 0.032 -> '3.2 %', 0.0000123 -> '0.00123 %'."""
    return percent(part) if part >= 0.001 or part == 0 else f"{score(100 * part)} %"


def percent_interval(interval: Interval) -> str:
    """Format an interval of a share: (0.73, 0.88) -> '73.0 to 88.0 %'."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def points(difference: float) -> str:
    """Format a difference of shares: -0.023 -> '-2.3 pts' with a true minus; '+1.4 pts'; '0.0 pts'."""
    value = round(100 * difference, 1)
    sign = MINUS if value < 0 else "+" if value > 0 else ""
    return f"{sign}{abs(value):.1f} pts"


def points_interval(interval: Interval) -> str:
    """Format an interval of a difference: (-0.061, 0.014) -> '-6.1 to +1.4 pts' with a true minus."""
    return f"{points(interval[0]).removesuffix(' pts')} to {points(interval[1])}"


def score(value: float | None) -> str:
    """Format a score with three significant digits and a true minus: 0.0012345 -> '0.00123', 4.2e-9 -> '4.2e-09'."""
    if value is None or not isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = floor(log10(abs(value)))
    text = f"{value:.3g}" if size < -4 or size > 5 else f"{value:.{max(0, 2 - size)}f}"
    return text.replace("-", MINUS, 1) if value < 0 else text


def signed(rho: float) -> str:
    """Format a correlation with a true minus: -0.5 -> '−0.50'."""
    return f"{rho:.2f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Format a duration: '4 s', '3 min', '2 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Format a past moment: 'just now', '4 min ago', or the date."""
    elapsed = ((now or datetime.now(UTC)) - moment).total_seconds()
    if elapsed < 90:
        return "just now"
    if elapsed < 36 * 3600:
        return f"{duration(elapsed)} ago"
    return moment.strftime("%d %b %Y")


def counted(kind: UnitKind, count: int) -> str:
    """Format a number of units: '1 head', '12 heads'."""
    return f"{count:,} {kind.value if count == 1 else PLURALS[kind]}"


def treated(treatment: Treatment) -> str:
    """Format a treatment: 'off', 'times 0.5', 'at their mean', 'plus 2 standard deviations'."""
    return treatment.describe().replace("deviations", "standard deviations")


def units(counts: Mapping[UnitKind, int], treatment: Treatment = OFF) -> str:
    """Format numbers of units: '12 heads · 1 layer', with a treatment other than switching off."""
    text = " · ".join(counted(kind, counts[kind]) for kind in UnitKind if counts.get(kind))
    return text if treatment == OFF else f"{text}, {treated(treatment)}"


def method(spec: str, infos: Mapping[str, MethodInfo]) -> str:
    """Format a method by its title and the parameters that are not defaults: 'Path Shapley (points=4)'."""
    name, _, settings = spec.partition(",")
    title = infos[name].title if name in infos else name
    return f"{title} ({settings.replace(',', ', ')})" if settings else title


def cost(info: MethodInfo) -> str:
    """Format the cost of a method: 'One backward pass.', '8 backward passes for each kind of unit.'"""
    if info.cost:
        return f"{info.cost[0].upper()}{info.cost[1:]}."
    if info.passes == 0:
        return "No pass."
    return "One backward pass." if info.passes == 1 else f"{info.passes} backward passes for each kind of unit."


def accuracy(measured: Measured) -> str:
    """Format an accuracy with its interval: '81.4 % (76.1 to 85.8 %)'."""
    return f"{percent(measured.accuracy)} ({percent_interval(measured.interval)})"


def examples(task: TaskInfo) -> str:
    """Format a task's numbers of examples: '288 examples for scoring, 360 held out'; '' until the data are read."""
    if task.probe_examples is None or task.test_examples is None:
        return ""
    return f"{task.probe_examples:,} examples for scoring, {task.test_examples:,} held out"


def model_name(model: str) -> str:
    """Shorten a model id: 'demo:digits-vit' -> 'digits-vit'; a hub model keeps 8 digits of its commit."""
    name, _, revision = model.partition(":")[2].partition("@")
    return f"{name}@{revision[:8]}" if revision else name


def run_title(run: Run) -> str:
    """Format the title of a run: 'digits-vit on digits'."""
    return f"{model_name(run.model)} on {run.task}"


def run_heading(run: Run) -> str:
    """Format the heading of a run's page: 'Before the fix (digits-vit on digits)', or its title if it has no name."""
    return f"{run.name} ({run_title(run)})" if run.name else run_title(run)


def fetching(state: Fetching) -> str:
    """Format the progress of a fetch: 'downloading the model, 1.2 GiB of 3.4 GiB, 2 min left'."""
    left = "" if state.eta_s is None else f", {duration(state.eta_s)} left"
    return f"downloading the model, {bytes_as_text(state.done)} of {bytes_as_text(state.total)}{left}"


def share_done(run: Run) -> float:
    """Return the percentage done of a run's current step: fetching its model, or scoring."""
    current = run.fetching or run.progress
    return 100 * current.done / current.total if current.total else 0.0


def progress(run: Run) -> str:
    """Format the progress of a run: '96 of 288 examples, 4 s left'."""
    done = run.progress
    if run.status is Status.QUEUED:
        return "waiting for a worker"
    if run.fetching is not None:
        return fetching(run.fetching)
    if done.total == 0:
        return "loading the model"
    left = "" if done.eta_s is None or done.done == done.total else f", {duration(done.eta_s)} left"
    closing = ", measuring the intact accuracy" if done.done == done.total else ""
    return f"{done.done} of {done.total} examples{left}{closing}"
