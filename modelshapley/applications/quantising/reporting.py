"""What came of quantising, in lines and a model card."""

from __future__ import annotations

from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.formatting import bytes_as_text, percent, percent_interval, points, points_interval, score

NOT_FASTER = "It is smaller on disk. transformers unpacks the weights at the first pass, so it is no faster on a CPU."


def describe(info: QuantisedInfo) -> list[str]:
    """Describe a quantised model beside its parent, a sentence each."""
    trial, (low, high) = info.trial, info.loss_interval
    lines = [
        f"{bytes_as_text(info.bytes)} instead of {bytes_as_text(info.parent_bytes)}. {NOT_FASTER}",
        f"Loss {info.loss:.3f} nats, {score(info.loss_difference)} ({score(low)} to {score(high)}) against the "
        f"parent's {info.parent_loss:.3f} on the same examples.",
        f"Accuracy {percent(trial.accuracy)} ({percent_interval(trial.interval)}), {points(trial.difference)} "
        f"({points_interval(trial.difference_interval)}) against the parent, n {trial.n}.",
        f"Logits of a fresh process differ from those before saving by at most {info.reload_max_logit_difference:.2g}.",
    ]
    if info.fallbacks:
        lines.append(
            f"{info.fallbacks} of {info.maps} linear maps were only rounded to the nearest value: there the method's "
            "Hessian was not positive definite."
        )
    return lines


def card(info: QuantisedInfo) -> str:
    """Return the model card, in Markdown."""
    lines = [
        *("---", "library_name: transformers", "tags: [quantised, model-shapley]", "---", ""),
        f"# {info.parent}, quantised ({info.scheme})",
        "",
        f"Made from `{info.parent}` (revision `{info.parent_revision[:12]}`) by Model Shapley and llm-compressor, "
        f"calibrated with {info.calibration} sequences of {info.task}. Measured on its test examples in float32, 95 % "
        "intervals:",
        "",
        *(f"- {line}" for line in describe(info)),
        "- It was measured on this task alone; on others it may be worse.",
        "",
        "It loads with plain `from_pretrained` where `compressed-tensors` is installed.",
        "",
    ]
    return "\n".join(lines)
