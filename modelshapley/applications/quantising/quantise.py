"""Quantise a model with the probe examples of a task, and compare the result with its parent on the test examples."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from modelshapley.applications import proof
from modelshapley.applications.folder import made_from, new_folder, write_record
from modelshapley.applications.pruning import export_dtype
from modelshapley.applications.quantising.calibration import NEAREST, calibration_sequences, require_tokens
from modelshapley.applications.quantising.compress import Report, Request
from modelshapley.applications.quantising.reporting import card
from modelshapley.applications.quantising.schemes import group_of, quantised_maps, scheme_named
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.evaluation.accuracy import Evaluation, evaluate
from modelshapley.evaluation.intervals import mean_half_width
from modelshapley.evaluation.trials import compare
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prove import prove_shortcuts
from modelshapley.server.processes import start
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation

TIMEOUT_S = 24 * 3600
POLL_S = 0.1  # how often the other process is looked at
W4 = ("rtn-w4", "gptq-w4", "paper-algorithm-1", "paper-released")
Notify = Callable[[str], None]
Pause = Callable[[], None]


def quantise(
    loaded: LoadedModel,
    task: Task[Any],
    scheme: str,
    folder: Path,
    *,
    parent_folder: Path,
    beta: float = 0.5,
    limit: int | None = 64,
    seed: int = 0,
    intact: Evaluation | None = None,
    job: str | None = None,
    notify: Notify = lambda message: None,
    pause: Pause = lambda: None,
) -> QuantisedInfo:
    """Save a quantised model to `folder`, which appears whole or not at all.

    scheme: a name of :data:`schemes.SCHEMES`. parent_folder: the files of `loaded`. beta: 0 to 1, of
    `paper-algorithm-1`. limit: at most so many probe examples for calibration; None: all. intact: of the parent on
    all test examples, measured here if not given. job: id of the server's derived model, for the record. notify: called
    with a sentence at each step; pause: between passes, and while the other process works. Both may raise to stop.

    What is not quantised, embeddings above all, keeps the dtype of the parent's folder. The folder loads with plain
    `from_pretrained` where compressed-tensors is installed; it is smaller on disk, and no faster on a CPU. All
    measurements are in float32.

    Raises UnknownName, TaskMismatch, ModelShapleyError for too small a calibration set or a missing extra, and
    UnsupportedModel for another kind of model, or if a fresh process does not load what was saved with equal logits.
    """
    group = _checked_group(loaded, task, scheme, beta)
    notify("Reading the calibration set")
    sequences = calibration_sequences(loaded, task, task.select(loaded, Split.PROBE, seed, limit))
    if scheme != NEAREST:
        require_tokens(sequences, max(part.in_features for part in quantised_maps(loaded.model).values()))
    with new_folder(folder) as temporary, tempfile.TemporaryDirectory(prefix="modelshapley-quantise-") as work:
        notify("Quantising the linear maps, in a process of its own")
        request = _request(loaded, parent_folder, scheme, group or 0, beta, temporary, Path(work))
        save_file({f"{n:06}": sequence for n, sequence in enumerate(sequences)}, request.calibration)
        report = _compress(request, loaded, pause)
        loaded.tokenizer.save_pretrained(temporary)  # type: ignore[union-attr]
        notify("Loading it again, in a process of its own")
        largest = _require_reloaded(temporary, loaded, request)
        notify("Measuring it beside its parent")
        test = task.select(loaded, Split.TEST, seed)
        parent = intact or evaluate(loaded, task, Deactivation(), test, on_progress=lambda done: pause())
        measured = _measured(_evaluate(loaded, temporary, task, test, pause), parent)
        found = measured | {
            "group": group,
            "beta": beta if scheme == "paper-algorithm-1" else None,
            "calibration": len(sequences),
            "bytes": _bytes_of(temporary),
            "parent_bytes": _bytes_of(parent_folder),
            "reload_max_logit_difference": largest,
        }
        info = _record(loaded, task, seed, scheme, report, {**found, "job": job})
        write_record(temporary, info, card(info))
    return info


def _checked_group(loaded: LoadedModel, task: Task[Any], scheme: str, beta: float) -> int | None:
    """Return the size of a group of weights, None where a scale is a channel's. Raises what `quantise` does."""
    scheme_named(scheme)
    task.check(loaded)
    if loaded.anatomy.modality != "text" or not loaded.anatomy.auto_class.endswith("ForCausalLM"):
        raise UnsupportedModel(f"{loaded.id!r} cannot be quantised here: only language models that write text are.")
    if not 0 <= beta <= 1:
        raise ModelShapleyError(f"beta is {beta}; choose one from 0 to 1.")
    widths = [part.in_features for part in quantised_maps(loaded.model).values()]
    return group_of(loaded.id, widths) if scheme in W4 else None


def _record(
    loaded: LoadedModel, task: Task[Any], seed: int, scheme: str, report: Report, found: Mapping[str, Any]
) -> QuantisedInfo:
    """Return the record of a quantised model. found: the fields that depend on the files and on measurements."""
    origin = made_from(loaded, task, seed, ("llmcompressor", "compressed-tensors"))
    return QuantisedInfo(scheme=scheme, maps=report.maps, fallbacks=len(report.fallbacks), **origin | dict(found))


def _request(
    loaded: LoadedModel, parent: Path, scheme: str, group: int, beta: float, folder: Path, work: Path
) -> Request:
    inputs = work / "inputs.safetensors"
    save_file({name: tensor.cpu().contiguous() for name, tensor in proof.inputs_of(loaded).items()}, inputs)
    every = {path for path, part in loaded.model.named_modules() if isinstance(part, torch.nn.Linear)}
    return Request(
        parent=parent.resolve(),
        auto_class=loaded.anatomy.auto_class,
        dtype=str(export_dtype(loaded)).removeprefix("torch."),
        device=str(loaded.device),
        scheme=scheme,
        group=group,
        beta=beta,
        ignore=sorted(every - set(quantised_maps(loaded.model))),
        calibration=work / "calibration.safetensors",
        inputs=inputs,
        logits=work / "logits.safetensors",
        folder=folder.resolve(),
        report=work / "report.json",
    )


def _compress(request: Request, loaded: LoadedModel, pause: Pause) -> Report:
    """Run llm-compressor in a process of its own. Raises UnsupportedModel with its last line if it fails."""
    file, log = request.report.with_name("request.json"), request.report.with_name("stderr.txt")
    file.write_text(request.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "modelshapley.applications.quantising.compress", str(file)]
    with log.open("wb") as errors:
        process = start(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=file.parent)
        try:
            status = _wait(process, loaded, pause)
        finally:
            process.kill()  # changes nothing once it has ended
            process.wait()
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {status}"
        raise UnsupportedModel(f"{loaded.id!r} cannot be quantised by llm-compressor: {reason[:300]}")
    return Report.model_validate_json(request.report.read_bytes())


def _wait(process: subprocess.Popen[bytes], loaded: LoadedModel, pause: Pause) -> int:
    """Return the exit status of a process, pausing meanwhile. Raises UnsupportedModel after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_S)
        pause()
    raise UnsupportedModel(
        f"llm-compressor has not quantised {loaded.id!r} within {TIMEOUT_S // 3600} hours; use a smaller limit."
    )


def _require_reloaded(folder: Path, loaded: LoadedModel, request: Request) -> float:
    """Return by how much the logits of a fresh process differ from those before saving. Raises UnsupportedModel."""
    reloaded = proof.reloaded_logits(folder, loaded, dtype=request.dtype)
    return proof.require_equal(
        reloaded, load_file(request.logits)["logits"], "The saved model", "the model before it was saved"
    )


def _evaluate(loaded: LoadedModel, folder: Path, task: Task[Any], test: Sequence[Any], pause: Pause) -> Evaluation:
    """Measure the saved model in float32, as its parent is."""
    with redirect_stderr(StringIO()):  # a bar of progress that no setting turns off
        model = getattr(transformers, loaded.anatomy.auto_class).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    quantised = replace(loaded, model=model.eval().requires_grad_(False).to(loaded.device))
    quantised = replace(quantised, shortcuts=prove_shortcuts(quantised))
    return evaluate(quantised, task, Deactivation(), test, on_progress=lambda done: pause())


def _measured(now: Evaluation, parent: Evaluation) -> dict[str, Any]:
    difference = now.losses - parent.losses
    mean, half = float(difference.mean()), mean_half_width(difference)
    return {
        "loss": now.loss,
        "parent_loss": parent.loss,
        "loss_difference": mean,
        "loss_interval": (mean - half, mean + half),
        "trial": compare(now.outcomes, parent.outcomes),
    }


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
