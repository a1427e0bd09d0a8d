"""What every task is: examples, a loss per example, and what counts as right."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from torch import Tensor

from modelshapley.contracts.tasks import BadRows, ExampleShown, TaskInfo
from modelshapley.errors import TaskMismatch
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.language.prefix_tree import Scored

Example = TypeVar("Example")


class Split(StrEnum):
    """PROBE: examples that scores are computed on. TEST: held out, for accuracy."""

    PROBE = "probe"
    TEST = "test"


class Task(ABC, Generic[Example]):
    """One task. Stateless apart from its data; models are passed in.

    `probe_batch`: examples of one forward pass at most, when scoring. `test_chunk`: examples after which a trial
    tells how it stands. `pass_tokens`: how many tokens, by :meth:`size`, one pass should not exceed;
    `answer_tokens`: one pass of :meth:`correct`.
    `single_pass`: whether :meth:`correct` is one forward pass, whatever is switched off, over inputs that hang on
    nothing but its examples; only then may a trial start in the middle of it.
    """

    info: TaskInfo
    probe_batch: int = 32
    test_chunk: int = 64
    pass_tokens: int = 2048
    answer_tokens: int = 2048
    single_pass: bool = False

    @abstractmethod
    def examples(self, split: Split, seed: int = 0) -> Sequence[Example]:
        """All examples of a split, in an order shuffled by `seed` so that every prefix is a fair sample.

        Probe and test never share an example under the same seed.
        """

    def select(self, loaded: LoadedModel, split: Split, seed: int = 0, limit: int | None = None) -> Sequence[Example]:
        """The first `limit` examples of a split, as this model is given them.

        Raises BadData where one cannot be given to it (too long, say) and the task does not leave such ones out.
        """
        return self.examples(split, seed)[:limit]

    def left_out(
        self, loaded: LoadedModel | None, split: Split, seed: int = 0, limit: int | None = None
    ) -> list[BadRows]:
        """The rows that :meth:`select` leaves out on its way to these examples, by reason.

        Without a model only those that no model could be given.
        """
        return []

    def size(self, loaded: LoadedModel, example: Example) -> int:
        """Tokens that an example takes in a forward pass; 1 where examples are of one size."""
        return 1

    @abstractmethod
    def losses(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Loss of each example, shape (examples,), nats, differentiable in the activations.

        One forward pass, in which each example is a row, in order: gates may differ from row to row.
        """

    @abstractmethod
    def correct(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Whether each example is answered right: bool tensor (examples,) on the CPU.

        Where an example can be partly right, the share that is, as floats from 0 to 1. Rows as in `losses`, in
        one pass or several.
        """

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Example]) -> Sequence[str | None]:
        """What the model answers to each example, in words; None where answers are none. Rows as in `losses`."""
        return [None] * len(examples)

    def class_of(self, example: Example) -> str | None:
        """The class that an example belongs to, one of what `info.classes` names; None where it has none."""
        return None

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Example]) -> Scored | None:
        """The tokens of the reference answers, each given those before it; None for tasks without such answers.

        Rows as in `losses`, which is minus the mean log-likelihood of these.
        """
        return None

    def shown(self, loaded: LoadedModel | None, example: Example) -> ExampleShown:
        """An example for people: as the model reads it, where there is one."""
        return ExampleShown(row="", right=self.class_of(example) or "")

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Names for several classes together: {group: classes}."""
        return {}

    def check(self, loaded: LoadedModel) -> None:
        """Raise TaskMismatch where this model cannot do this task."""
        if loaded.anatomy.auto_class != self.info.auto_class:
            raise TaskMismatch.of(self.info.id, self.info.auto_class, loaded.id, loaded.anatomy.auto_class)

    @abstractmethod
    def content(self) -> Any:
        """JSON-able content that determines the examples and what counts as right."""

    def fingerprint(self, seed: int) -> str:
        """sha256 of the content and the seed that draws from it: maps are comparable only where it is equal."""
        told = {"content": self.content(), "seed": seed}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
