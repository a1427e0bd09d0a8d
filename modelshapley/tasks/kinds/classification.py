"""What classifying pictures and texts have in common: one forward pass, cross entropy, the likeliest class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from modelshapley.contracts.task_file import _Labelled
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.data import Row
from modelshapley.tasks.kinds.data_task import DataTask, Placed
from modelshapley.tasks.labels import class_in, class_names, matched, mismatch


class Labelled(Placed, Protocol):
    @property
    def number(self) -> int:
        """Of its class, in the data."""
        ...


E = TypeVar("E", bound=Labelled)
Spec = TypeVar("Spec", bound=_Labelled)


class Classification(DataTask[E, Spec]):
    """Loss: cross entropy over all classes of the model, nats. Right: the likeliest class is the row's."""

    single_pass = True

    @abstractmethod
    def logits(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        """(examples, classes of the model)."""

    @cached_property
    def classes(self) -> list[str]:
        """In order: as the task names them, else as the data do."""
        return self.spec.labels or self._own

    @cached_property
    def _own(self) -> list[str]:
        """The data's own names of the classes, in order."""
        splits = dict.fromkeys((self.spec.probe.split, self.spec.test.split))
        return class_names(self.spec, [self.table(split) for split in splits])

    @cached_property
    def _renamed(self) -> list[str]:
        named = any(self.spec.label in table.names for table in self._tables.values())
        return self._own if named and not set(self.classes) & set(self._own) else []

    def losses(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        logits = self.logits(loaded, examples).float()
        return functional.cross_entropy(logits, self._right(loaded, examples, logits), reduction="none")

    def correct(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        logits = self.logits(loaded, examples)
        return (logits.argmax(-1) == self._right(loaded, examples, logits)).cpu()

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[E]) -> list[str]:
        names, (numbers, _) = self.classes, matched(self.spec, self.classes, loaded)
        words = {number: names[place] for place, number in enumerate(numbers)}
        config: Any = loaded.model.config
        found = self.logits(loaded, examples).argmax(-1).tolist()
        return [words.get(number, str(config.id2label[number])) for number in found]

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        _, labels = matched(self.spec, self.classes, loaded)
        if labels.problem is not None:
            raise mismatch(self.spec.name, loaded, labels)

    def number_in(self, row: Row) -> int:
        """A row's class. Raises BadRow.

        Where the data number their classes and name the numbers, and the task's names are all others, they stand
        for these numbers.
        """
        return class_in(row, self.spec.label, self.classes, self._renamed)

    def label_of(self, row: Row) -> str | None:
        """The class column's value; the name of the right class where there is no other class column."""
        return super().label_of(row) if self.spec.classes else self.classes[self.number_in(row)]

    def _right(self, loaded: LoadedModel, examples: Sequence[E], logits: Tensor) -> Tensor:
        numbers, labels = matched(self.spec, self.classes, loaded)
        if labels.problem is not None:
            raise mismatch(self.spec.name, loaded, labels)
        return torch.tensor([numbers[example.number] for example in examples], device=logits.device)
