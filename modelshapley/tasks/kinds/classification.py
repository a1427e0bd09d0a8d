"""Base of the classification tasks: one forward pass, cross entropy, the likeliest class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from modelshapley.contracts.task_files.descriptions import Labels
from modelshapley.contracts.task_files.file import LabelledTask
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.finite import require_finite
from modelshapley.tasks.data import Row
from modelshapley.tasks.kinds.data_task import DataExample, DataTask
from modelshapley.tasks.labels import class_index, class_names, match_labels, mismatch_error, number_by_name


class LabelledExample(DataExample, Protocol):
    """An example that belongs to a class."""

    @property
    def number(self) -> int:
        """Number of its class in the data."""
        ...


E = TypeVar("E", bound=LabelledExample)
Spec = TypeVar("Spec", bound=LabelledTask)


class Classification(DataTask[E, Spec]):
    """Loss: cross entropy over all classes of the model, nats. Right: the likeliest class is the row's."""

    single_pass = True

    @abstractmethod
    def logits(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        """Return the logits, (examples, classes of the model)."""

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes, in order: as the task names them, else as the data do."""
        return list(self.spec.labels or self._data_names)

    @cached_property
    def _data_names(self) -> list[str]:
        """Names of the classes in the data, in order."""
        splits = dict.fromkeys((self.spec.probe.split, self.spec.test.split))
        return class_names(self.spec, [self.table(split) for split in splits])

    @cached_property
    def _original_names(self) -> list[str]:
        has_names = any(self.spec.label in table.names for table in self._tables.values())
        return self._data_names if has_names and not set(self.classes) & set(self._data_names) else []

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Numbers of the classes by the task's name, and by the data's own."""
        return number_by_name(self.classes), number_by_name(self._original_names)

    def losses(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        logits = self._finite_logits(loaded, examples).float()
        return functional.cross_entropy(logits, self._true_classes(loaded, examples, logits), reduction="none")

    def correct(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        logits = self._finite_logits(loaded, examples)
        return (logits.argmax(-1) == self._true_classes(loaded, examples, logits)).cpu()

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[E]) -> list[str]:
        labels = self.match(loaded)
        name_of = dict(zip(labels.numbers, labels.data, strict=False))
        config: Any = loaded.model.config
        predicted = self._finite_logits(loaded, examples).argmax(-1).tolist()
        return [name_of.get(number, str(config.id2label[number])) for number in predicted]

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        labels = self.match(loaded)
        if labels.problem is not None:
            raise mismatch_error(self.spec.name, loaded, labels)

    def class_number(self, row: Row) -> int:
        """Return the number of a row's class. Raises BadRow.

        Where the data name their class numbers and the task uses other names throughout, the task's names stand for
        the same numbers.
        """
        numbers, own = self._numbers
        return class_index(row, self.spec.label, numbers, len(self.classes), own)

    def label_of(self, row: Row) -> str | None:
        """Return the class column's value; the name of the right class where there is no other class column."""
        return super().label_of(row) if self.spec.classes else self.classes[self.class_number(row)]

    def _finite_logits(self, loaded: LoadedModel, examples: Sequence[E]) -> Tensor:
        return require_finite(loaded, self.logits(loaded, examples), "A logit")

    def match(self, loaded: LoadedModel) -> Labels:
        """Return the classes of the data and of the model, and how they match."""
        ordered = any(self.spec.label in table.names for table in self._tables.values())
        return match_labels(self.spec, self.classes, loaded, ordered)

    def _true_classes(self, loaded: LoadedModel, examples: Sequence[E], logits: Tensor) -> Tensor:
        labels = self.match(loaded)
        if labels.problem is not None:
            raise mismatch_error(self.spec.name, loaded, labels)
        return torch.tensor([labels.numbers[example.number] for example in examples], device=logits.device)
