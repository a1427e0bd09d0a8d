"""Proof that a smaller model is the parent with units off: equal logits, before and after it is saved."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from modelshapley.applications.plans import Plan
from modelshapley.applications.surgery import routers_of
from modelshapley.errors import UnsupportedModel
from modelshapley.interventions.gates import treated
from modelshapley.interventions.verify import probe_inputs
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, UnitKind

MAX_DIFFERENCE = 1e-4
"""Largest difference of a logit between the smaller model and the parent with the same units off, in float32.

It holds for logits up to LARGE_LOGIT, and grows with larger ones, since float32 rounds in proportion.
"""
LARGE_LOGIT = 10.0
TOKENS = 32
RELOAD_TIMEOUT_S = 3600


def masked_logits(loaded: LoadedModel, plan: Plan, deactivation: Deactivation) -> Tensor:
    """Return the parent's logits on the probe inputs with the units off, as the smaller model should compute them.

    Units are gated. Experts that are cut out cannot be chosen by their router, so that each token still gets its number
    of experts; experts that are zeroed add nothing where they are chosen.
    """
    with torch.inference_mode(), without_units(loaded, plan, deactivation):
        return _logits(loaded.model, inputs_of(loaded))


@contextmanager
def without_units(loaded: LoadedModel, plan: Plan, deactivation: Deactivation) -> Iterator[None]:
    """Let the parent compute what the smaller model of a plan would while the block runs; see :func:`masked_logits`."""
    routers = routers_of(loaded, plan) if plan.modes.get(UnitKind.EXPERT) == "removed" else {}
    units = {kind: units for kind, units in deactivation.units if not (kind is UnitKind.EXPERT and routers)}
    with treated(loaded.model, loaded.anatomy, Deactivation.of(units)), _routed(loaded.model, routers):
        yield


def logits_of(model: nn.Module, loaded: LoadedModel) -> Tensor:
    """Return the logits of a model made from `loaded` for the same inputs, on the device of that model."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        return _logits(model, {name: tensor.to(device) for name, tensor in inputs_of(loaded).items()})


def inputs_of(loaded: LoadedModel) -> dict[str, Tensor]:
    """Return the inputs on which models are compared: random tokens or pixels, always the same."""
    return probe_inputs(loaded.model, loaded.anatomy, TOKENS)


def reloaded_logits(folder: Path, loaded: LoadedModel, adapter: Path | None = None, dtype: str = "float32") -> Tensor:
    """Return the logits of a saved model that a fresh process loads in `dtype`. Raises UnsupportedModel if it cannot.

    adapter: folder of an adapter that peft adds to it.
    """
    with tempfile.TemporaryDirectory(prefix="modelshapley-reload-") as temporary:
        inputs, outputs = Path(temporary) / "inputs.safetensors", Path(temporary) / "outputs.safetensors"
        save_file({name: tensor.cpu().contiguous() for name, tensor in inputs_of(loaded).items()}, inputs)
        arguments = [folder, loaded.anatomy.auto_class, loaded.device, dtype, inputs, outputs]
        arguments += [] if adapter is None else [adapter]
        command = [sys.executable, "-m", "modelshapley.applications.reload", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=RELOAD_TIMEOUT_S, check=False)
        if result.returncode != 0:
            reason = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[-1]
            raise UnsupportedModel(f"The saved model cannot be loaded in a fresh process: {reason[:300]}")
        return load_file(outputs)["logits"]


def difference(logits: Tensor, expected: Tensor) -> float:
    """Return the largest difference of a logit; infinite for logits that are no numbers or of another shape."""
    if logits.shape != expected.shape:
        return float("inf")
    largest = float((logits.double().cpu() - expected.double().cpu()).abs().max())
    return largest if largest == largest else float("inf")


def require_equal(
    logits: Tensor, expected: Tensor, what: str, other: str = "the parent with the same units off"
) -> float:
    """Return the largest difference of a logit. Raises UnsupportedModel where it exceeds MAX_DIFFERENCE."""
    largest = difference(logits, expected)
    allowed = MAX_DIFFERENCE * max(1.0, float(expected.abs().max()) / LARGE_LOGIT)
    if not largest <= allowed:
        raise UnsupportedModel(
            f"{what} gives other logits than {other} (largest difference {largest:.3g}, at most {allowed:.3g} "
            "allowed), so it was not saved."
        )
    return largest


@contextmanager
def _routed(model: nn.Module, routers: dict[str, list[int]]) -> Iterator[None]:
    """Let each router choose only from some experts while the block runs; the numbers of experts stay the parent's."""
    with ExitStack() as stack:
        for path, experts in routers.items():
            router: Any = model.get_submodule(path)
            whole, kept = router.weight.data, torch.tensor(experts, device=router.weight.device)
            stack.callback(partial(setattr, router.weight, "data", whole))
            router.weight.data = whole[kept]
            stack.callback(router.register_forward_hook(partial(_as_parent, kept)).remove)
        yield


def _as_parent(kept: Tensor, _: nn.Module, __: Any, output: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    logits, weights, index = output
    return logits, weights, kept[index]


def _logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    logits: Tensor = model(**inputs).logits
    return logits.clone()
