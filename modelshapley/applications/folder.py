"""The folder of a derived model: weights, config, tokenizer, modelshapley.json and a model card; whole or not there."""

from __future__ import annotations

import errno
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers

from modelshapley import __version__
from modelshapley.contracts.applications.derived import DerivedInfo, KeptUnits
from modelshapley.contracts.applications.made_from import MadeFromParent
from modelshapley.contracts.trials import Off
from modelshapley.errors import ModelShapleyError
from modelshapley.formatting import bytes_as_text, percent, percent_interval, points, points_interval
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation, UnitKind

INFO, CARD, MASK = "modelshapley.json", "README.md", "mask.json"
ONE_FILE = "1000TB"
REPAIRED = {
    "least-squares": "The last projections were then refitted.",
    "means": "Then the means of these units were folded into biases.",
}


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` if the block succeeds, and disappears if it fails.

    Raises ModelShapleyError where `folder` exists, or where the disk is full.
    """
    if folder.exists():
        raise ModelShapleyError(f"{str(folder)!r} exists already; choose another name, or delete it first.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)  # mkdtemp lets only its owner read
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelShapleyError(
                f"The disk of {str(folder.parent)!r} is full, so nothing was saved; free some space and try again."
            ) from error
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ModelShapleyError(f"{str(folder)!r} appeared meanwhile; choose another name.") from error
        raise


def save_model(folder: Path, model: Any, parent: LoadedModel) -> int:
    """Save a model with the parent's tokenizer or image processor; return the size of its weights file in bytes."""
    model.save_pretrained(folder, safe_serialization=True, max_shard_size=ONE_FILE)
    for part in (parent.tokenizer, parent.processor):
        if part is not None:
            part.save_pretrained(folder)
    return (folder / "model.safetensors").stat().st_size


def made_from(
    loaded: LoadedModel, task: Task[Any], seed: int, packages: Sequence[str] = (), job: str | None = None
) -> dict[str, Any]:
    """Return the fields of :class:`MadeFromParent`. packages: others whose versions matter."""
    return {
        "parent": loaded.id,
        "parent_revision": loaded.revision,
        "family": loaded.anatomy.model_type,
        "task": task.info.id,
        "task_fingerprint": task.fingerprint(seed),
        "seed": seed,
        "versions": versions() | {name: version(name) for name in packages},
        "created": datetime.now(UTC),
        "job": job,
    }


def versions() -> dict[str, str]:
    """Return the versions that a derived model was made with."""
    return {
        "modelshapley": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def write_record(folder: Path, info: MadeFromParent, card_text: str) -> None:
    """Write modelshapley.json and the model card."""
    (folder / INFO).write_text(json.dumps(info.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card_text, encoding="utf-8")


def write_info(folder: Path, info: DerivedInfo, zeroed: Deactivation) -> None:
    """Write modelshapley.json, the model card, and mask.json with the parent's units that are zeroed in place."""
    write_record(folder, info, card(info))
    if len(zeroed):
        (folder / MASK).write_text(Off.from_deactivation(zeroed).model_dump_json(exclude_defaults=True) + "\n")


Info = TypeVar("Info", bound=MadeFromParent)


def read_info(folder: Path, kind: type[Info]) -> Info:
    """Read modelshapley.json as the record of one kind of derived model. Raises ModelShapleyError."""
    try:
        return kind.model_validate_json((folder / INFO).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelShapleyError(f"{folder.name} has no readable {INFO}: {str(error).splitlines()[0]}") from error


def card(info: DerivedInfo) -> str:
    """Return the model card, in Markdown."""
    trial = info.trial
    kinds = ", ".join(f"{count:,} {kind.value}s {info.modes[kind]}" for kind, count in info.off.items() if count)
    lines = [
        "---",
        "library_name: transformers",
        "tags: [pruned, model-shapley]",
        "---",
        "",
        f"# {info.parent}, pruned",
        "",
        f"Made from `{info.parent}` (revision `{info.parent_revision[:12]}`) by Model Shapley: {kinds}.",
        "",
        f"- **Accuracy on {info.task}:** {percent(trial.accuracy)} ({percent_interval(trial.interval)}), "
        f"{points(trial.difference)} ({points_interval(trial.difference_interval)}) against the parent on the same "
        f"{trial.n} examples. 95 % intervals.",
        f"- **Size:** {bytes_as_text(info.bytes)} instead of {bytes_as_text(info.parent_bytes)}; "
        f"{info.parameters:,} parameters instead of {info.parent_parameters:,}.",
        f"- **Same logits as the parent with these units off:** to {info.reload_max_logit_difference:.1g}, loaded in a "
        "process of its own."
        + (f" {REPAIRED[info.repair.how]}" if info.repair is not None and info.repair.kept else ""),
        "- It was measured on this task alone; on others it may be worse.",
        *(f"- {reason[0].upper()}{reason[1:]}" for reason in info.reasons),
        "",
        "It loads with plain `from_pretrained`. `modelshapley.json` lists the units that are left.",
        "",
    ]
    return "\n".join(lines)


def kept_units(layers: Sequence[int], kept: dict[UnitKind, Sequence[Sequence[int]]]) -> KeptUnits:
    """Return the remaining units as ranges of the parent's indices."""
    texts = {kind.value: [ranges(units) for units in by_layer] for kind, by_layer in kept.items() if any(by_layer)}
    return KeptUnits(layers=list(layers), **texts)


def ranges(indices: Sequence[int]) -> str:
    """Write sorted indices as ranges: (0, 1, 2, 5) -> '0-2,5'."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
