"""Numbers, moments and states as text, the same way on every screen and in every message. Pure, torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import floor, isfinite, log10

from modelshapley.contracts import Fetching, Interval, Measured, MethodInfo, Run, Status
from modelshapley.contracts.tasks import TaskInfo
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
}
STATUS_WORDS = {
    Status.QUEUED: "waiting",
    Status.RUNNING: "scoring",
    Status.DONE: "done",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


def bytes_as_text(count: float) -> str:
    """'812 B', '3.1 MiB', '12 GiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}" if unit != "B" and count < 10 else f"{count:,.0f} {unit}"


def percent(share: float) -> str:
    """0.8144 -> '81.4 %'; a negative one with a true minus."""
    return f"{100 * share:.1f} %".replace("-", MINUS)


def share(part: float) -> str:
    """A share of a total, which may be tiny: 0.032 -> '3.2 %', 0.0000123 -> '0.00123 %'."""
    return percent(part) if part >= 0.001 or part == 0 else f"{score(100 * part)} %"


def percent_interval(interval: Interval) -> str:
    """(0.73, 0.88) -> '73.0 to 88.0 %'."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def points(difference: float) -> str:
    """-0.023 -> '-2.3 pts' with a true minus; '+1.4 pts'; '0.0 pts'."""
    value = round(100 * difference, 1)
    sign = MINUS if value < 0 else "+" if value > 0 else ""
    return f"{sign}{abs(value):.1f} pts"


def points_interval(interval: Interval) -> str:
    """(-0.061, 0.014) -> '-6.1 to +1.4 pts' with a true minus."""
    return f"{points(interval[0]).removesuffix(' pts')} to {points(interval[1])}"


def score(value: float | None) -> str:
    """Three significant digits, with a true minus: 0.0012345 -> '0.00123', 4.2e-9 -> '4.2e-09'."""
    if value is None or not isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = floor(log10(abs(value)))
    text = f"{value:.3g}" if size < -4 or size > 5 else f"{value:.{max(0, 2 - size)}f}"
    return text.replace("-", MINUS, 1) if value < 0 else text


def signed(rho: float) -> str:
    """A correlation with a true minus: -0.5 -> '−0.50'."""
    return f"{rho:.2f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Time left or passed: '4 s', '3 min', '2 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """'just now', '4 min ago', or the date."""
    passed = ((now or datetime.now(UTC)) - moment).total_seconds()
    if passed < 90:
        return "just now"
    if passed < 36 * 3600:
        return f"{duration(passed)} ago"
    return moment.strftime("%d %b %Y")


def counted(kind: UnitKind, count: int) -> str:
    """'1 head', '12 heads'."""
    return f"{count:,} {kind.value if count == 1 else PLURALS[kind]}"


def treated(treatment: Treatment) -> str:
    """What is done to units: 'off', 'times 0.5', 'at their mean', 'plus 2 standard deviations'."""
    return treatment.describe().replace("deviations", "standard deviations")


def units(counts: Mapping[UnitKind, int], treatment: Treatment = OFF) -> str:
    """'12 heads · 1 layer', with what is done to them where that is not switching off."""
    told = " · ".join(counted(kind, counts[kind]) for kind in UnitKind if counts.get(kind))
    return told if treatment == OFF else f"{told}, {treated(treatment)}"


def method(spec: str, infos: Mapping[str, MethodInfo]) -> str:
    """'Path Shapley (points=4)': a method's title, with the parameters that are not the defaults."""
    name, _, settings = spec.partition(",")
    title = infos[name].title if name in infos else name
    return f"{title} ({settings.replace(',', ', ')})" if settings else title


def cost(info: MethodInfo) -> str:
    """'One backward pass.', '8 backward passes for each kind of unit.'"""
    if info.cost:
        return f"{info.cost[0].upper()}{info.cost[1:]}."
    if info.passes == 0:
        return "No pass."
    return "One backward pass." if info.passes == 1 else f"{info.passes} backward passes for each kind of unit."


def accuracy(measured: Measured) -> str:
    return f"{percent(measured.accuracy)} ({percent_interval(measured.interval)})"


def examples(task: TaskInfo) -> str:
    """'288 examples to score on, 360 held out'; nothing where only reading the data would tell."""
    if task.probe_examples is None or task.test_examples is None:
        return ""
    return f"{task.probe_examples:,} examples to score on, {task.test_examples:,} held out"


def model_name(model: str) -> str:
    """'demo:digits-vit' -> 'digits-vit'; of a model of the hub, the first figures of its commit."""
    name, _, revision = model.partition(":")[2].partition("@")
    return f"{name}@{revision[:8]}" if revision else name


def run_title(run: Run) -> str:
    """'digits-vit on digits'."""
    return f"{model_name(run.model)} on {run.task}"


def fetching(found: Fetching) -> str:
    """'fetching the model, 1.2 GiB of 3.4 GiB, 2 min left'."""
    left = "" if found.eta_s is None else f", {duration(found.eta_s)} left"
    return f"fetching the model, {bytes_as_text(found.done)} of {bytes_as_text(found.total)}{left}"


def share_done(run: Run) -> float:
    """Percent of what a run is doing now: fetching its model, or scoring."""
    now = run.fetching or run.progress
    return 100 * now.done / now.total if now.total else 0.0


def progress(run: Run) -> str:
    """What a run is doing: '96 of 288 examples, 4 s left'."""
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
