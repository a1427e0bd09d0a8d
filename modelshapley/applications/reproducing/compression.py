"""The paper's compression (section 5, Table 2): one model quantised in several ways, each beside the parent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from modelshapley.applications.quantising.quantise import quantise
from modelshapley.contracts.applications.quantising import SCHEMES, QuantisedInfo
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.formatting import percent, percent_interval, points, points_interval
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation

PRINTED = "paper-algorithm-1"
BETAS = (0.1, 0.3, 0.5, 0.7, 0.9)  # the paper's
MIB = 1024**2


def default_schemes() -> list[str]:
    """Return the schemes that this machine can compute."""
    return [name for name, scheme in SCHEMES.items() if torch.cuda.is_available() or not scheme.needs_cuda]


def reproduce_compression(
    loaded: LoadedModel,
    task: Task[Any],
    parent_folder: Path,
    schemes: Sequence[str],
    *,
    betas: Sequence[float] = BETAS,
    limit: int = 64,
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> dict[str, QuantisedInfo]:
    """Quantise a model by each scheme, by Algorithm 1 once for each beta, and keep none of the results.

    limit: at most so many probe examples for calibration. Raises what `quantise` does.
    """
    intact = evaluate(loaded, task, Deactivation(), task.select(loaded, Split.TEST, seed))
    found: dict[str, QuantisedInfo] = {}
    for scheme in schemes:
        for beta in betas if scheme == PRINTED else (0.5,):
            name = f"{scheme}, beta {beta:g}" if scheme == PRINTED else scheme
            notify(name)
            with tempfile.TemporaryDirectory(prefix="modelshapley-compression-") as work:
                found[name] = quantise(
                    loaded,
                    task,
                    scheme,
                    Path(work) / "quantised",
                    parent_folder=parent_folder,
                    beta=beta,
                    limit=limit,
                    seed=seed,
                    intact=intact,
                )
    return found


def markdown(infos: Mapping[str, QuantisedInfo], title: str, command: str) -> str:
    """Format the table and the command that computes it again. title: of the task; infos: at least one."""
    info = next(iter(infos.values()))
    headers = ["scheme", f"accuracy (n {info.trial.n})", "against the parent", "loss minus the parent's, nats"]
    headers += ["MiB", "maps only rounded"]
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items() if name != "python")
    return "\n".join(
        [
            f"# {title} after quantisation",
            "",
            f"`{info.parent}` on `{info.task}`, calibrated with {info.calibration} sequences of its probe examples, "
            f"measured on its test examples in float32; the parent has an accuracy of {percent(info.trial.intact)}, a "
            f"loss of {info.parent_loss:.3f} nats and {info.parent_bytes / MIB:.0f} MiB; seed {info.seed}. After the "
            "paper's Table 2.",
            "",
            "    " + command,
            "",
            "| " + " | ".join(headers) + " |",
            "|" + "---|" * len(headers),
            *(_row(name, one) for name, one in infos.items()),
            "",
            "In brackets 95 % intervals; differences are paired, on the same examples, and not corrected for the "
            "number of tests. Maps only rounded: linear maps whose Hessian was not positive definite, so that "
            "llm-compressor rounded them to the nearest value; where these are many, a scheme is `rtn-w4` under "
            "another name. The paper's code as released gives the weights of `rtn-w4`.",
            "",
            f"Revision `{info.parent_revision[:12]}`, task `{info.task_fingerprint[:12]}`, {versions}, "
            f"{datetime.now(UTC).date().isoformat()}.",
            "",
        ]
    )


def _row(name: str, info: QuantisedInfo) -> str:
    low, high = info.loss_interval
    cells = [
        f"`{name}`",
        f"{percent(info.trial.accuracy)} ({percent_interval(info.trial.interval)})",
        f"{points(info.trial.difference)} ({points_interval(info.trial.difference_interval)})",
        f"{info.loss_difference:+.3f} ({low:+.3f} to {high:+.3f})",
        f"{info.bytes / MIB:.0f}",
        f"{info.fallbacks} of {info.maps}",
    ]
    return "| " + " | ".join(cells) + " |"
