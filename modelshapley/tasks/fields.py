"""Descriptions of the fields of a task file, for docs/tasks.md and the command line. Torch-free."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from modelshapley.contracts.task_files.file import (
    CounterfactualTask,
    GenerationTask,
    ImageClassificationTask,
    LanguageModellingTask,
    MultipleChoiceTask,
    Part,
    Source,
    TaskFile,
    TextClassificationTask,
)

KINDS: tuple[type[TaskFile], ...] = (
    ImageClassificationTask,
    TextClassificationTask,
    MultipleChoiceTask,
    GenerationTask,
    LanguageModellingTask,
    CounterfactualTask,
)
FieldRows = list[tuple[str, str, str]]


def describe_fields() -> dict[str, FieldRows]:
    """Return {heading: (field, default, description)} for all tasks, for each kind, for `source` and for parts."""
    common = set(TaskFile.model_fields)
    tables = {"every task": _rows(TaskFile, set())}
    for model in KINDS:
        (kind,) = get_args(model.model_fields["kind"].annotation)
        tables[kind] = _rows(model, common | {"kind"})
    return tables | {"source": _rows(Source, set()), "probe, test": _rows(Part, set())}


def as_markdown(rows: FieldRows) -> str:
    """Format the rows of one table of :func:`describe_fields`."""
    lines = [f"| `{name}` | {default} | {description} |" for name, default, description in rows]
    return "\n".join(["| field | default | what it is |", "|---|---|---|", *lines])


def _rows(model: type[BaseModel], excluded: set[str]) -> FieldRows:
    return [
        (name, _default(field), _description(field))
        for name, field in model.model_fields.items()
        if name not in excluded
    ]


def _description(field: FieldInfo) -> str:
    choices = [f"`{choice}`" for choice in get_args(field.annotation)] if _is_choice(field.annotation) else []
    return f"{field.description}{': ' if choices else ''}{', '.join(choices)}"


def _is_choice(annotation: Any) -> bool:
    return get_origin(annotation) is Literal


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    return "none" if value in (None, "", {}, []) else f"`{json.dumps(value)}`"
