"""The task form filled in from uploaded data: splits, kind of task, and a column for each field of one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from frontend.pages.tasks.task_form import CHOICE, FIELDS, IMAGES, PROSE, TEXTS
from modelshapley.contracts import Dataset
from modelshapley.contracts.task_files.file import placeholders

# Usual names of the column for a field, the likeliest first.
USUAL: dict[str, tuple[str, ...]] = {
    "image": ("image", "img", "picture"),
    "text": ("text", "sentence", "content", "review", "document"),
    "prompt": ("question", "prompt", "input", "instruction", "problem", "query", "text", "sentence"),
    "label": ("label", "class", "category", "target", "labels"),
    "choices_column": ("choices", "options", "answers", "endings"),
    "key": ("answer", "key", "correct", "target", "label"),
    "answer": ("answer", "target", "output", "response", "solution", "completion"),
}
COLUMN_FIELDS = tuple(name for name, field in FIELDS.items() if field.sort == "column")
TEMPLATES = ("prompt", "answer", "choices")  # fields with {column} in them
HALVES = (
    "The data have no splits: half of the examples, drawn by the seed, are for scoring, and the other half "
    "measures accuracy. Change the shares below."
)


def fill_form(values: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return the form's values for a task on uploaded data. What already fits the data stays."""
    filled = dict(values) | {"where": "path", "source.path": dataset.path} | _parts(dataset)
    filled["name"] = values["name"] or re.sub(r"[^a-z0-9]+", "-", dataset.name.lower()).strip("-")[:63]
    if values["kind"] == FIELDS["kind"].value:
        filled["kind"] = _kind(dataset) or values["kind"]
    elif dataset.form == "pictures":
        filled["kind"] = IMAGES
    names = [column.name for column in dataset.columns]
    lists = [column.name for column in dataset.columns if column.kind == "list"]
    for field in ("image", "text", "label", "key"):
        if values[field] not in names:
            filled[field] = _usual(field, names) or ""
    if values["choices_column"] not in names:
        filled["choices_column"] = (_usual("choices_column", lists) or next(iter(lists), "")) if lists else ""
    for field in ("prompt", "answer"):
        if not _fits(values[field], names):
            column = _usual(field, names)
            filled[field] = f"{{{column}}}" if column else ""
    return filled


def is_unsplit(dataset: Dataset) -> bool:
    """Return whether scoring and accuracy must share one split."""
    return len(dataset.splits) == 1


def _parts(dataset: Dataset) -> dict[str, Any]:
    names = [split.name for split in dataset.splits]
    if is_unsplit(dataset):
        return {"probe.split": names[0], "probe.share": 50, "test.split": names[0], "test.share": 50}
    probe = "train" if "train" in names else names[0]
    others = [name for name in names if name != probe]
    test = "test" if "test" in others else others[0]
    return {"probe.split": probe, "probe.share": FIELDS["probe.share"].value, "test.split": test, "test.share": 100}


def _kind(dataset: Dataset) -> str | None:
    """Return the kind of task that the columns point to, if they do."""
    names = {column.name.lower() for column in dataset.columns}
    if any(column.kind == "image" for column in dataset.columns):
        return IMAGES
    if any(column.kind == "list" for column in dataset.columns):
        return CHOICE
    if not names & set(USUAL["text"]):
        return None
    return TEXTS if names & set(USUAL["label"]) else PROSE if len(names) == 1 else None


def _usual(field: str, names: Iterable[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in USUAL[field] if name in by_lower), None)


def _fits(template: str, names: Iterable[str]) -> bool:
    """Return whether a template takes from columns that the data have."""
    try:
        used = placeholders(template or "")
    except ValueError:  # an open brace, which the form reports
        return True
    return bool(used) and {*used} - {"choices", "letter"} <= {*names}
