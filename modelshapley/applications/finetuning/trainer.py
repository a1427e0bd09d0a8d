"""The training loop: AdamW on named parameters, with checkpoints from which it goes on bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modelshapley.applications.finetuning.parallel import Processes, own_part
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.errors import ModelShapleyError, NotFinite
from modelshapley.evaluation.trials import in_passes
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task

MOMENTS = ("exp_avg", "exp_avg_sq")
CHECKPOINT_EVERY = 16
"""Steps between checkpoints."""


@dataclass
class Trainer:
    """Trains `parameters` of a model on examples; `written` is called after each step, when they have changed.

    key: what is trained, as text, so that a checkpoint of other units is refused. processes: those that train together;
    each batch is divided among them, and the first writes the checkpoints. The order of examples depends on the
    seed alone. Every tenth example is kept for measuring, if there are at least 20.
    """

    loaded: LoadedModel
    task: Task[Any]
    examples: Sequence[Any]
    parameters: Mapping[str, nn.Parameter]
    settings: FinetuneSettings
    seed: int
    key: str = ""
    written: Callable[[], None] = lambda: None
    processes: Processes = field(default_factory=Processes)
    step: int = 0
    best: float = float("inf")
    waited: int = 0
    _optimiser: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        held = len(self.examples) // 10 if len(self.examples) >= 20 else 0
        self._held, self._train = list(self.examples[:held]), list(self.examples[held:])
        settings = self.settings
        self._optimiser = torch.optim.AdamW(
            list(self.parameters.values()), lr=settings.rate, weight_decay=settings.weight_decay
        )

    def run(
        self,
        checkpoint: Path | None = None,
        every: int = CHECKPOINT_EVERY,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> int:
        """Train to the end, or until the loss no longer falls; return the number of steps.

        checkpoint: file that is written every so many steps and after the last, and continued from if it exists. Raises
        NotFinite for a gradient that is no number, ModelShapleyError for a checkpoint of other settings.
        """
        if checkpoint is not None and checkpoint.exists():
            self.load(checkpoint)
        while self.step < self.settings.steps and not self._exhausted():
            self._one_step()
            if checkpoint is not None and (self.step % every == 0 or self.step == self.settings.steps):
                self.save(checkpoint)
            on_step(self.step, self.settings.steps)
        return self.step

    def _one_step(self) -> None:
        settings = self.settings
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.step, settings)
        for batch in self._batches():
            # The parameters train through the graph of the task's own loss, as units are scored.
            own = own_part(batch, self.processes)
            (self.task.losses(self.loaded, own).mean() / settings.accumulate).backward()
        self.processes.average(self.parameters.values())
        norm = float(nn.utils.clip_grad_norm_(list(self.parameters.values()), settings.clip))
        if not np.isfinite(norm):
            raise NotFinite.of(f"The gradient of step {self.step + 1}", norm, self.loaded.dtype)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.written()
        self.step += 1
        if settings.patience and self._held and self.step % settings.measure_every == 0:
            self._measure()

    def _batches(self) -> list[list[Any]]:
        """Return the batches of the current step; each pass over the examples has its own order."""
        size = self.settings.batch
        start = self.step * size * self.settings.accumulate
        places = range(start, start + size * self.settings.accumulate)
        chosen = [self._train[self._order(p // len(self._train))[p % len(self._train)]] for p in places]
        return [chosen[at : at + size] for at in range(0, len(chosen), size)]

    def _order(self, epoch: int) -> Any:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self._train))

    def _measure(self) -> None:
        with torch.inference_mode():
            loss = float(in_passes(self.loaded, self.task, self._held, self.task.losses).mean())
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(self.best, loss)

    def _exhausted(self) -> bool:
        return bool(self.settings.patience) and self.waited >= self.settings.patience

    def save(self, file: Path) -> None:
        """Write parameters, moments and progress to `file`, whole or not at all; the first process does."""
        if self.processes.rank:
            return
        tensors: dict[str, Tensor] = {f"value:{name}": p.detach().contiguous() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state = self._optimiser.state[parameter]
            tensors |= {f"{moment}:{name}": state[moment].contiguous() for moment in MOMENTS}
        progress = {"step": self.step, "best": self.best, "waited": self.waited, "plan": self._plan()}
        temporary = file.with_name(file.name + ".part")
        save_file(tensors, temporary, metadata={"progress": json.dumps(progress)})
        temporary.replace(file)

    def load(self, file: Path) -> None:
        """Continue from a checkpoint. Raises ModelShapleyError for one of another plan."""
        with safe_open(file, "pt") as stored:
            progress = json.loads(stored.metadata()["progress"])
            if progress["plan"] != self._plan():
                raise ModelShapleyError(
                    f"{file.name} is a checkpoint of other settings, units or data; delete it, or repeat those."
                )
            for name, parameter in self.parameters.items():
                parameter.data.copy_(stored.get_tensor(f"value:{name}"))
                state = {moment: stored.get_tensor(f"{moment}:{name}").to(parameter.device) for moment in MOMENTS}
                self._optimiser.state[parameter] = {"step": torch.tensor(float(progress["step"])), **state}
        self.step, self.best, self.waited = progress["step"], progress["best"], progress["waited"]
        self.written()

    def _plan(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json"),
            "revision": self.loaded.revision,
            "task": self.task.fingerprint(self.seed),
            "examples": len(self.examples),
            "units": hashlib.sha256(self.key.encode()).hexdigest(),
            "parameters": {name: list(parameter.shape) for name, parameter in self.parameters.items()},
        }


def rate_at(step: int, settings: FinetuneSettings) -> float:
    """Return the learning rate of a step, from 0: linear warm-up, then linear decay to 0 after the last step."""
    warm = int(settings.warmup * settings.steps)
    if step < warm:
        return settings.rate * (step + 1) / warm
    return settings.rate * (settings.steps - step) / (settings.steps - warm)
