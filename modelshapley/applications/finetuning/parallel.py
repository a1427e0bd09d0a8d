"""Several processes that train one model: each on its part of every batch, gradients averaged by accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from modelshapley.errors import ModelShapleyError

Example = TypeVar("Example")


@dataclass
class Processes:
    """Processes of one training, of which this is number `rank` of `count`; here one that is alone."""

    rank: int = 0
    count: int = 1

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes."""

    def require_same(self, what: str, text: str) -> None:
        """Raise ModelShapleyError unless all processes have the same text. what: its name for the message."""

    def wait(self) -> None:
        """Wait until all processes are here."""


class Together(Processes):
    """Processes that `accelerate launch` or torchrun started, one a device."""

    def __init__(self, cpu: bool) -> None:
        from accelerate import PartialState

        self._state = PartialState(cpu=cpu)
        super().__init__(self._state.process_index, self._state.num_processes)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes, in one message."""
        from accelerate.utils import reduce

        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
        for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def require_same(self, what: str, text: str) -> None:
        """Raise ModelShapleyError unless all processes have the same text. what: its name for the message."""
        from accelerate.utils import gather_object

        if len(set(gather_object([text]))) > 1:
            raise ModelShapleyError(
                f"The processes that train together have different {what}, so their gradients do not belong together; "
                "choose units by a saved map (--map)."
            )

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._state.wait_for_everyone()


def processes_of(device: Any) -> Processes:
    """Return the processes that train together: those of the launcher that started this one, else this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    return Together(cpu=str(device) == "cpu")


def own_device(device: str) -> str:
    """Return the device of this process: with `cuda`, each process of a launcher on this machine has its own card."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


def is_first() -> bool:
    """Return whether this process is the first of a launcher's, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def own_part(batch: Sequence[Example], processes: Processes) -> Sequence[Example]:
    """Return the examples of a batch that this process has. Raises ModelShapleyError where they do not divide evenly.

    Equal parts make the mean of the processes' means that of the whole batch.
    """
    if len(batch) % processes.count:
        raise ModelShapleyError(
            f"A batch of {len(batch)} examples cannot be divided evenly among {processes.count} processes; choose a "
            "multiple of that."
        )
    return batch[processes.rank :: processes.count]
