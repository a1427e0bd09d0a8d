"""The fields of the task form, and the task file that they describe. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelshapley.contracts.task_files.file import TaskFile, parse, parse_text
from modelshapley.errors import BadTask
from modelshapley.formatting import KINDS_OF_TASK

Values = Mapping[str, Any]
Sort = Literal["text", "area", "lines", "number", "percent", "choice", "column", "path"]
ALL = tuple(KINDS_OF_TASK)
IMAGES, TEXTS, CHOICE, WRITTEN, PROSE, PAIRS = ALL
LABELLED, ASKED = (IMAGES, TEXTS), (CHOICE, WRITTEN)
MAPS = " = "  # between a class of the data and one of the model
MISSING = "This field is required."
# Messages instead of pydantic's, where a field's pattern or range is not met.
MESSAGES = {
    "name": "At most 63 lower-case letters, digits and hyphens, not starting with a hyphen.",
    "source.hub": "A dataset on the hub, such as openai/gsm8k.",
    "probe.share": "More than 0, at most 100 %.",
    "test.share": "More than 0, at most 100 %.",
}
# Problems between fields, by the beginning of their message, and the field that shows them.
BETWEEN = {
    "give either 'path'": "source",
    "probe and test are both": "test.share",
    "give 'choices'": "choices",
    "score 'letter'": "prompt",
    "'pattern'": "pattern",
    "pattern '": "pattern",
}


@dataclass(frozen=True)
class Field:
    """One input. name: its place in a task file; kinds: the kinds of task that have it; more: whether it is folded."""

    name: str
    label: str
    help: str = ""
    sort: Sort = "text"
    kinds: tuple[str, ...] = ALL
    value: Any = ""
    choices: tuple[tuple[str, str], ...] = ()
    more: bool = False


COLUMN = "The column with {}."
GROUPS: dict[str, tuple[Field, ...]] = {
    "Task": (
        Field("kind", "Kind", sort="choice", value=WRITTEN, choices=tuple(KINDS_OF_TASK.items())),
        Field("name", "Name", "For example my-sums."),
        Field("title", "Title (optional)", "Displayed instead of the name.", more=True),
    ),
    "Data": (
        Field(
            "where",
            "Location of the data",
            sort="choice",
            value="path",
            choices=(("path", "A file or folder on the server"), ("hub", "The Hugging Face hub")),
        ),
        Field(
            "source.path", "File or folder", "In the server's datasets folder, for example sums/train.jsonl.", "path"
        ),
        Field("source.hub", "Dataset", "For example openai/gsm8k. A local folder of the task's name takes precedence."),
        Field("source.config", "Configuration (optional)", more=True),
        Field("source.revision", "Revision (optional)", more=True),
        Field("probe.split", "Split for scoring", "Use all for a single file.", value="train"),
        Field("probe.share", "Share of it", "Drawn at random, by the seed.", "percent", value=20),
        Field("test.split", "Split for accuracy", "Held out from scoring.", value="test"),
        Field("test.share", "Share of it", "Rows used for scoring are excluded.", "percent", value=100),
    ),
    "Input": (
        Field("image", "Image", COLUMN.format("the image"), "column", kinds=(IMAGES,), value="image"),
        Field("text", "Text", COLUMN.format("the text"), "column", kinds=(TEXTS, PROSE), value="text"),
        Field("pair", "Second text (optional)", "The column with it, for text pairs.", "column", (TEXTS,), more=True),
        Field("window", "Tokens per example", sort="number", kinds=(PROSE,), value=256, more=True),
        Field("prompt", "Prompt", "{column} is replaced by the row's value.", "area", (*ASKED, PAIRS), "{question}"),
        Field("corrupted", "Corrupted prompt", "Of as many tokens as the prompt.", "area", (PAIRS,), "{corrupted}"),
        Field("system", "System prompt (optional)", sort="area", kinds=ASKED, more=True),
        Field(
            "chat",
            "Chat template",
            sort="choice",
            kinds=ASKED,
            value="auto",
            choices=(("auto", "If the model has one"), ("yes", "Always"), ("no", "Never")),
            more=True,
        ),
    ),
    "Correct answer": (
        Field("label", "Class", COLUMN.format("the correct class"), "column", kinds=LABELLED, value="label"),
        Field(
            "labels",
            "Names of the classes (optional)",
            "One per line, in order; or, on each line, class in the data = class of the model.",
            "lines",
            LABELLED,
            more=True,
        ),
        Field(
            "match",
            "Match the model's classes",
            sort="choice",
            kinds=LABELLED,
            value="names",
            choices=(("names", "By name"), ("index", "By index")),
            more=True,
        ),
        Field("choices", "Choices", "One per line, the same for all rows or with {column}.", "lines", ASKED),
        Field("choices_column", "Or the column with the choices", sort="column", kinds=ASKED),
        Field("key", "Correct choice", "Its column: index from 0, letter or text.", "column", ASKED, value="answer"),
        Field(
            "score",
            "Score a choice by",
            sort="choice",
            kinds=(CHOICE,),
            value="mean",
            choices=(("mean", "Mean log-likelihood"), ("sum", "Total log-likelihood"), ("letter", "Its letter")),
        ),
        Field("answer", "Reference answer", "Text, with {column}.", "area", (WRITTEN, PAIRS), "{answer}"),
        Field("wrong", "Wrong answer", "What follows the corrupted prompt.", "area", (PAIRS,), "{wrong}"),
        Field(
            "rule",
            "Answer rule",
            "How the answer is extracted.",
            "choice",
            (WRITTEN,),
            "exact",
            (
                ("exact", "The whole text"),
                ("number", "The last number"),
                ("gsm8k", "The number after ####"),
                ("mmlu", "“The answer is (X)”"),
                ("regex", "A regular expression"),
                ("tokens", "Every token is the likeliest"),
            ),
        ),
        Field("pattern", "Regular expression", "The answer is group 1 of its last match.", kinds=(WRITTEN,)),
        Field(
            "max_new_tokens",
            "Maximum new tokens",
            "Generation stops after this many.",
            "number",
            (WRITTEN,),
            1024,
            more=True,
        ),
    ),
    "Examples": (
        Field(
            "classes",
            "Classes of examples (optional)",
            "A column. Each of its values can have its own map.",
            "column",
            more=True,
        ),
        Field("limit", "Maximum examples (optional)", "Of each split.", "number", more=True),
        Field("seed", "Seed (optional)", "The run's seed by default.", "number", more=True),
        Field(
            "on_bad",
            "Invalid rows",
            sort="choice",
            value="stop",
            choices=(("stop", "Stop the run"), ("skip", "Skip and count")),
            more=True,
        ),
    ),
}
FIELDS = {field.name: field for fields in GROUPS.values() for field in fields}


def _on_hub(values: Values) -> bool:
    return bool(values["where"] == "hub")


# Conditions, besides the kind of task, under which a field is visible.
VISIBLE_IF: dict[str, Callable[[Values], bool]] = {
    "source.path": lambda values: not _on_hub(values),
    "source.hub": _on_hub,
    "source.config": _on_hub,
    "source.revision": _on_hub,
    "pattern": lambda values: bool(values["rule"] == "regex"),
    "key": lambda values: bool(values["kind"] == CHOICE or values["choices"] or values["choices_column"]),
}


def visible_fields(values: Values) -> set[str]:
    """Return the names of the fields that apply to the current choices."""
    return {
        field.name
        for field in FIELDS.values()
        if values["kind"] in field.kinds and (field.name not in VISIBLE_IF or VISIBLE_IF[field.name](values))
    }


def file_of(values: Values) -> dict[str, Any]:
    """Return the content of the task file; empty fields are omitted."""
    data: dict[str, Any] = {"source": {}}
    visible = visible_fields(values)
    for field in FIELDS.values():
        value = _read(field, values[field.name])
        if field.name == "where" or field.name not in visible or value in ("", None, []):
            continue
        outer, _, inner = field.name.rpartition(".")
        (data.setdefault(outer, {}) if outer else data)[inner] = value
    return data


def validate(values: Values) -> tuple[TaskFile | None, dict[str, str]]:
    """Return the task, or its problems by field; '' is the form as a whole."""
    try:
        spec: TaskFile = parse(file_of(values), "of this form")
    except BadTask as error:
        return None, by_field(error.problems, values)
    return spec, {}


def validate_text(text: str | None) -> tuple[TaskFile | None, list[str]]:
    """Return the task in a YAML or JSON text, or its problems, a line for each field."""
    if not text or not text.strip():
        return None, ["Paste or drop a task file."]
    try:
        spec: TaskFile = parse_text(text, "in this text")
    except BadTask as error:
        return None, [f"{field}: {message}" if field else message for field, message in error.problems]
    return spec, []


def by_field(problems: list[tuple[str, str]], values: Values) -> dict[str, str]:
    """Assign each problem to the field that shows it; '' for problems of no visible field."""
    by_name: dict[str, str] = {}
    visible = visible_fields(values)
    for name, message in problems:
        field = _field(next((f for start, f in BETWEEN.items() if message.startswith(start)), name), visible)
        text = _readable(field, message)
        by_name[field] = f"{by_name[field]} {text}" if field in by_name else text
    return by_name


def _field(name: str, visible: set[str]) -> str:
    if name == "source":  # neither path nor hub was given
        return "source.path" if "source.path" in visible else "source.hub"
    parts = name.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in visible), "")


def _readable(field: str, message: str) -> str:
    if message == "Field required" or message.startswith("give either 'path'"):
        return MISSING
    if message.startswith(("String should match pattern", "Input should be")) and field in MESSAGES:
        return MESSAGES[field]
    return message if message.endswith(".") else f"{message}."


def _read(field: Field, value: Any) -> Any:
    if field.sort == "lines":
        lines = [line.strip() for line in str(value or "").splitlines() if line.strip()]
        return _mapping_of_lines(lines) or lines if field.name == "labels" else lines
    if field.sort == "percent" and isinstance(value, int | float):
        return round(value / 100, 6)
    return value


def lines_of_mapping(mapping: Mapping[str, str]) -> str:
    """Write a mapping of classes as the lines of the form."""
    return "\n".join(f"{name}{MAPS}{target}" for name, target in mapping.items())


def _mapping_of_lines(lines: list[str]) -> dict[str, str] | None:
    """Read a mapping of classes, if every line is an entry of one."""
    pairs = [line.rpartition(MAPS) for line in lines]
    return {name: target for name, _, target in pairs} if all(name for name, _, _ in pairs) else None
