"""Which class of the model is which class of the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from modelshapley.contracts.task_file import _Labelled
from modelshapley.contracts.tasks import Labels
from modelshapley.errors import TaskMismatch
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.data import BadRow, Row, Table, short

SHOWN = 12
NUMBER = re.compile(r"-?\d{1,5}")  # of a class; longer ones are ids or the like


def class_names(spec: _Labelled, tables: Sequence[Table]) -> list[str]:
    """The classes of the data, in order: as the data name them, else their values sorted.

    Where splits name different ones, all of them, sorted. Numbers stand for the classes 0, 1, ... to the highest.
    """
    named = [table.names[spec.label] for table in tables if spec.label in table.names]
    if named:
        return named[0] if all(one == named[0] for one in named) else sorted(set(chain(*named)))
    values = {str(value) for table in tables for value in table.column(spec.label) if _is_class(value) and value != ""}
    if all(NUMBER.fullmatch(value) for value in values):
        return [str(number) for number in range(max(map(int, values), default=-1) + 1)]
    return sorted(values)


def class_in(row: Row, column: str, names: Sequence[str], own: Sequence[str] = ()) -> int:
    """The number of a row's class, by its name or number. own: other names of the same classes. Raises BadRow."""
    value = row.get(column)
    if value is None or value == "":
        raise BadRow(f"nothing in column {column!r}")
    if not _is_class(value):
        raise BadRow(f"{short(value)} in column {column!r} is neither the name nor the number of a class")
    told = str(int(value) if isinstance(value, bool) else value)
    for known in (names, own):
        if told in known and known.index(told) < len(names):
            return known.index(told)
    if NUMBER.fullmatch(told):
        if 0 <= int(told) < len(names):
            return int(told)
        raise BadRow(f"class number {told} is not among the {len(names)} classes, which count from 0")
    raise BadRow(f"class {short(value)} is not among the {len(names)} classes of the task")


def matched(spec: _Labelled, names: Sequence[str], loaded: LoadedModel) -> tuple[list[int], Labels]:
    """(the model's class of each class of the data, both lists in words).

    By name where the names are the same but for case, spaces, hyphens and underscores; by number where the task
    says so or one side has no names but numbers. `problem` says where neither works; the numbers are then empty.
    """
    config: Any = loaded.model.config
    model = [str(config.id2label[i]) for i in sorted(config.id2label)]
    by_number = spec.match == "index" or _nameless(model) or _nameless(names)
    if by_number:
        found = list(range(len(names))) if len(names) == len(model) else []
        problem = None if found else f"the data have {len(names)} classes, the model {len(model)}"
        return found, Labels(data=list(names), model=model, problem=problem)
    places = {_plain(name): i for i, name in enumerate(model)}
    lacking = [name for name in names if _plain(name) not in places]
    problem = f"the model has no class {', '.join(map(repr, lacking[:3]))}" if lacking else None
    found = [] if lacking else [places[_plain(name)] for name in names]
    return found, Labels(data=list(names), model=model, problem=problem)


def mismatch(task: str, loaded: LoadedModel, labels: Labels) -> TaskMismatch:
    """The error of classes that do not match, with both lists."""
    return TaskMismatch(
        f"The classes of task {task!r} and of {loaded.id!r} do not match: {labels.problem}. Data: "
        f"{_some(labels.data)}. Model: {_some(labels.model)}. Name the task's `labels` as the model does, or set "
        "`match: index` where both number them alike."
    )


def _is_class(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _some(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _nameless(names: Sequence[str]) -> bool:
    return all(re.fullmatch(r"(LABEL_)?\d+", name) for name in names)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
