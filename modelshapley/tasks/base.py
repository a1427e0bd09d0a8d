"""What every task is: examples, a loss per example, and what counts as right."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from torch import Tensor

from modelshapley.contracts import TaskInfo
from modelshapley.errors import TaskMismatch
from modelshapley.models import LoadedModel

Example = TypeVar("Example")


class Split(StrEnum):
    """PROBE: examples that scores are computed on. TEST: held out, for accuracy."""

    PROBE = "probe"
    TEST = "test"


class Task(ABC, Generic[Example]):
    """One task. Stateless apart from its data; models are passed in.

    `probe_batch` and `test_chunk`: examples that fit one forward pass comfortably, for scoring and for trials.
    """

    info: TaskInfo
    probe_batch: int = 32
    test_chunk: int = 64

    @abstractmethod
    def examples(self, split: Split, seed: int = 0) -> Sequence[Example]:
        """All examples of a split, in an order shuffled by `seed` so that every prefix is a fair sample.

        Probe and test never share an example under the same seed.
        """

    @abstractmethod
    def losses(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Loss of each example, shape (examples,), nats, differentiable in the activations."""

    @abstractmethod
    def correct(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Whether each example is answered right: bool tensor (examples,) on the CPU."""

    def class_of(self, example: Example) -> str | None:
        """The class that an example belongs to, one of what `info.classes` names; None where it has none."""
        return None

    def check(self, loaded: LoadedModel) -> None:
        """Raise TaskMismatch where this model cannot do this task."""
        if loaded.anatomy.auto_class != self.info.auto_class:
            raise TaskMismatch.of(self.info.id, self.info.auto_class, loaded.id, loaded.anatomy.auto_class)

    @abstractmethod
    def content(self) -> Any:
        """JSON-able content that determines the examples and what counts as right."""

    def fingerprint(self) -> str:
        """sha256 of the content: two maps are comparable only where it is equal."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()
