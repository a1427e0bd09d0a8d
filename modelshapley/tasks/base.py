"""What every task is: examples, a loss per example, and what counts as right."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from torch import Tensor

from modelshapley.contracts.task_files.descriptions import BadRows, ExampleShown, TaskInfo
from modelshapley.errors import BadTreatment, TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import ContinuationScores

Example = TypeVar("Example")


class Split(StrEnum):
    """PROBE: examples that scores are computed on. TEST: held out, for accuracy."""

    PROBE = "probe"
    TEST = "test"


class Task(ABC, Generic[Example]):
    """A probe set and what counts as right. Stateless apart from its data; models are passed in.

    `probe_batch`: largest number of examples in one forward pass when scoring. `test_chunk`: number of examples
    after which a trial reports its intermediate result. `pass_tokens`: largest number of tokens, by :meth:`size`,
    in one pass; `answer_tokens`: the same for one pass of :meth:`correct`.
    `single_pass`: whether :meth:`correct` is one forward pass, whatever is switched off, over inputs that depend
    only on its examples; only then may a trial start in the middle of it.
    """

    info: TaskInfo
    probe_batch: int = 32
    test_chunk: int = 64
    pass_tokens: int = 2048
    answer_tokens: int = 2048
    single_pass: bool = False

    @abstractmethod
    def examples(self, split: Split, seed: int = 0) -> Sequence[Example]:
        """Return all examples of a split, in an order shuffled by `seed` so that every prefix is a fair sample.

        Probe and test never share an example under the same seed.
        """

    def select(self, loaded: LoadedModel, split: Split, seed: int = 0, limit: int | None = None) -> Sequence[Example]:
        """Return the first `limit` examples of a split, as this model receives them.

        Raises BadData where the model cannot take one (because it is too long, say) and the task does not skip such
        examples.
        """
        return self.examples(split, seed)[:limit]

    def skipped_rows(
        self, loaded: LoadedModel | None, split: Split, seed: int = 0, limit: int | None = None
    ) -> list[BadRows]:
        """Return the rows that :meth:`select` skips on its way to these examples, grouped by reason.

        Without a model, these are only the rows that no model can use.
        """
        return []

    def size(self, loaded: LoadedModel, example: Example) -> int:
        """Return the number of tokens of an example in a forward pass; 1 where all examples have the same size."""
        return 1

    @abstractmethod
    def losses(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Return the loss of each example, shape (examples,), in nats, differentiable in the activations.

        This is one forward pass in which each example is a row, in order: gates may differ from row to row.
        """

    @abstractmethod
    def correct(self, loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
        """Return whether each example is answered right: bool tensor (examples,) on the CPU.

        Where an example can be partly right, the values are floats, the share that is right, from 0 to 1. Rows are
        those of `losses`, in one pass or several.
        """

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Example]) -> Sequence[str | None]:
        """Return the model's answer to each example as text; None where answers are not text. Rows as in `losses`."""
        return [None] * len(examples)

    def corrupted(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Return the corrupted counterpart of each example, with the same shape in a forward pass.

        Raises BadTreatment where the task has none.
        """
        raise BadTreatment.no_pairs(self.info.id)

    def class_of(self, example: Example) -> str | None:
        """Return the class of an example, one of those that `info.classes` names; None where it has none."""
        return None

    def teacher_forced(self, loaded: LoadedModel, examples: Sequence[Example]) -> ContinuationScores | None:
        """Score the tokens of the reference answers, each given those before it; None for tasks without such answers.

        Rows as in `losses`, which returns minus the mean log-likelihood of these tokens.
        """
        return None

    def display(self, loaded: LoadedModel | None, example: Example) -> ExampleShown:
        """Return an example for display: as the model reads it, where a model is given."""
        return ExampleShown(row="", right=self.class_of(example) or "")

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Named groups of classes: {group: classes}."""
        return {}

    def check(self, loaded: LoadedModel) -> None:
        """Raise TaskMismatch if this model cannot do this task."""
        if loaded.anatomy.auto_class != self.info.auto_class:
            raise TaskMismatch.of(self.info.id, self.info.auto_class, loaded.id, loaded.anatomy.auto_class)

    @abstractmethod
    def content(self) -> Any:
        """Return the JSON-serialisable content that determines the examples and what counts as right."""

    def fingerprint(self, seed: int) -> str:
        """Return the sha256 of the content and the sampling seed: maps are comparable only where it is equal."""
        content = {"content": self.content(), "seed": seed}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
