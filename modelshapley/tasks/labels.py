"""Matching the classes of the data with those of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from modelshapley.contracts.task_files.descriptions import Labels
from modelshapley.contracts.task_files.file import LabelledTask
from modelshapley.errors import TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.data import BadRow, Row, Table, shorten

MAX_LISTED_CLASSES = 12
NUMBER = re.compile(r"-?\d{1,5}")  # a class number; longer numbers are ids or the like


def class_names(spec: LabelledTask, tables: Sequence[Table]) -> list[str]:
    """Return the classes of the data, in order: as the data name them, else their values sorted.

    Where splits name different classes, this is all of them, sorted. Numbers stand for the classes 0, 1, ... to the
    highest.
    """
    named = [table.names[spec.label] for table in tables if spec.label in table.names]
    if named:
        return named[0] if all(other == named[0] for other in named) else sorted(set(chain(*named)))
    values = {
        str(value) for table in tables for value in table.column(spec.label) if _can_be_class(value) and value != ""
    }
    if all(NUMBER.fullmatch(value) for value in values):
        return [str(number) for number in range(max(map(int, values), default=-1) + 1)]
    return sorted(values)


def number_by_name(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class; of a name that is listed twice, the first."""
    return {name: number for number, name in reversed(list(enumerate(names)))}


def class_index(row: Row, column: str, numbers: Mapping[str, int], count: int, own: Mapping[str, int]) -> int:
    """Return the number of a row's class, given its name or number.

    numbers: of the `count` classes by name; own: by other names of the same classes. Raises BadRow.
    """
    value = row.get(column)
    if value is None or value == "":
        raise BadRow(f"nothing in column {column!r}")
    if not _can_be_class(value):
        raise BadRow(f"{shorten(value)} in column {column!r} is neither the name nor the number of a class")
    text = str(int(value) if isinstance(value, bool) else value)
    for known in (numbers, own):
        if known.get(text, count) < count:
            return known[text]
    if NUMBER.fullmatch(text):
        if 0 <= int(text) < count:
            return int(text)
        raise BadRow(f"class number {text} is not among the {count} classes, which count from 0")
    raise BadRow(f"class {shorten(value)} is not among the {count} classes of the task")


def match_labels(spec: LabelledTask, names: Sequence[str], loaded: LoadedModel, ordered: bool = False) -> Labels:
    """Return the classes of the data and of the model, and the model's class of each class of the data.

    Classes match as the task maps them (`labels: {data: model}`), or by name where the names are equal up to case,
    spaces, hyphens and underscores. They match by number where the task says so (`match: index`, or `labels` in the
    model's order), where the data number their classes, or where they name them in an order of their own (`ordered`).
    Where none of this holds, as with texts in the data and LABEL_0, LABEL_1, ... in the model, `problem` says so: an
    order would be a guess.
    """
    config: Any = loaded.model.config
    model_names = [str(config.id2label[i]) for i in sorted(config.id2label)]
    sides = Labels(data=list(names), model=model_names)
    if isinstance(spec.labels, dict):
        return _match_mapping(spec.labels, sides)
    model_numbers = {_normalise(name): i for i, name in enumerate(model_names)}
    if spec.match == "names" and len(model_numbers) == len(model_names):
        numbers = [model_numbers.get(_normalise(name), -1) for name in names]
        if -1 not in numbers:
            return sides.model_copy(update={"numbers": numbers})
    if spec.match == "index" or _are_numbers(model_names) or _are_numbers(names):
        numbered = spec.match == "index" or spec.labels is not None or ordered or _are_numbers(names)
        return _match_in_order(sides, numbered)
    missing = [name for name in names if _normalise(name) not in model_numbers]
    if missing:
        return _problem(sides, f"the model has no class {', '.join(map(repr, missing[:3]))}")
    return sides.model_copy(update={"numbers": [model_numbers[_normalise(name)] for name in names]})


def _match_mapping(mapping: Mapping[str, str], sides: Labels) -> Labels:
    """Match classes by a mapping from each class of the data to a name or number of the model's."""
    known = {str(number): number for number in range(len(sides.model))}
    known |= {_normalise(name): number for number, name in enumerate(sides.model)}
    numbers = [known.get(_normalise(mapping[name]), -1) for name in sides.data]
    missing = [name for name, number in zip(sides.data, numbers, strict=True) if number < 0]
    if missing:
        targets = ", ".join(repr(mapping[name]) for name in missing[:3])
        return _problem(sides, f"`labels` maps {', '.join(map(repr, missing[:3]))} to {targets}, unknown to the model")
    return sides.model_copy(update={"numbers": numbers})


def _match_in_order(sides: Labels, numbered: bool) -> Labels:
    """Match the first class with the first, and so on. numbered: the data or the task say that this is so."""
    if len(sides.data) != len(sides.model):
        return _problem(sides, f"the data have {len(sides.data)} classes, the model {len(sides.model)}")
    if not numbered:
        return _problem(sides, "the model only numbers its classes, and the data do not say which number is which")
    return sides.model_copy(update={"numbers": list(range(len(sides.data)))})


def _problem(sides: Labels, problem: str) -> Labels:
    return sides.model_copy(update={"problem": problem})


def mismatch_error(task: str, loaded: LoadedModel, labels: Labels) -> TaskMismatch:
    """Return the error for classes that do not match, with both lists."""
    return TaskMismatch(
        f"The classes of task {task!r} and of {loaded.id!r} do not match: {labels.problem}. Data: "
        f"{_abbreviate(labels.data)}. Model: {_abbreviate(labels.model)}. Map each class of the data to one of the "
        "model's with `labels: {class in the data: class of the model}`, or set `match: index` where both number them "
        "alike."
    )


def _can_be_class(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _abbreviate(names: Sequence[str]) -> str:
    suffix = f", ... ({len(names)} in all)" if len(names) > MAX_LISTED_CLASSES else ""
    return ", ".join(names[:MAX_LISTED_CLASSES]) + suffix


def _are_numbers(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"(LABEL_)?\d+", name) for name in names)


def _normalise(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
