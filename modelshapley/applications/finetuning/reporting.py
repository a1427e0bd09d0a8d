"""What came of fine-tuning: each arm beside the parent and the targeted one, in numbers, lines and a model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelshapley.contracts.applications.finetuning import FinetuneArm, FinetunedInfo
from modelshapley.evaluation.accuracy import Evaluation
from modelshapley.evaluation.intervals import mean_half_width, paired_difference
from modelshapley.evaluation.trials import compare
from modelshapley.formatting import percent, points, points_interval, score


@dataclass(frozen=True)
class Outcome:
    """What training one set of parameters gave."""

    name: str
    trained: int
    steps: int
    measured: Evaluation


def compared(outcome: Outcome, targeted: Outcome, parent: Evaluation) -> FinetuneArm:
    """Compare an outcome with the parent, and with the targeted one."""
    values: dict[str, Any] = {}
    if outcome is not targeted:
        difference = outcome.measured.losses - targeted.measured.losses
        mean, half = float(difference.mean()), mean_half_width(difference)
        accuracy, interval = paired_difference(outcome.measured.outcomes, targeted.measured.outcomes)
        values = {
            "loss_minus_targeted": mean,
            "loss_interval": (mean - half, mean + half),
            "accuracy_minus_targeted": accuracy,
            "accuracy_interval": interval,
        }
    return FinetuneArm(
        name=outcome.name,
        trained=outcome.trained,
        steps=outcome.steps,
        loss=outcome.measured.loss,
        against_parent=compare(outcome.measured.outcomes, parent.outcomes),
        **values,
    )


def describe(arm: FinetuneArm) -> str:
    """Describe an arm in one line."""
    trial = arm.against_parent
    text = (
        f"{arm.name}: {arm.trained:,} parameters, loss {score(arm.loss)} nats, accuracy {percent(trial.accuracy)}, "
        f"{points(trial.difference)} ({points_interval(trial.difference_interval)}) against the parent"
    )
    if arm.loss_minus_targeted is None or arm.loss_interval is None:
        return text
    low, high = arm.loss_interval
    return f"{text}; loss minus targeted {score(arm.loss_minus_targeted)} ({score(low)} to {score(high)})"


def card(info: FinetunedInfo) -> str:
    """Return the model card, in Markdown."""
    units = ", ".join(f"{count:,} {kind.value}s" for kind, count in info.trained_units.items())
    lines = [
        *("---", "library_name: transformers", "tags: [fine-tuned, model-shapley]", "---", ""),
        f"# {info.parent}, {units} fine-tuned",
        "",
        f"Made from `{info.parent}` (revision `{info.parent_revision[:12]}`) by Model Shapley: only {units} "
        f"were trained, on the probe examples of {info.task}. Measured on its test examples (95 % intervals), "
        "controls beside it:",
        "",
        *(f"- {describe(arm)}" for arm in info.arms),
        "",
    ]
    return "\n".join(lines)
