"""The form of a task: its fields, and the task file that they make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelshapley.contracts.task_file import TaskFile, parse, parse_text
from modelshapley.errors import BadTask
from modelshapley.formatting import KINDS_OF_TASK

Values = Mapping[str, Any]
Sort = Literal["text", "area", "lines", "number", "percent", "choice"]
ALL = tuple(KINDS_OF_TASK)
IMAGES, TEXTS, CHOICE, WRITTEN, PROSE = ALL
LABELLED, ASKED = (IMAGES, TEXTS), (CHOICE, WRITTEN)
MISSING = "Fill this in."
# In place of the words for machines, where a field's pattern or range is not met.
WORDS = {
    "name": "Lower-case letters, digits and hyphens, at most 63; the first is no hyphen.",
    "source.hub": "A name on the hub, such as openai/gsm8k.",
    "probe.share": "More than 0, at most 100 %.",
    "test.share": "More than 0, at most 100 %.",
}
# What is wrong between fields, by how it is told, and the field to tell it at.
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
    """One input. name: where it stands in a task file; kinds: of task, that have it."""

    name: str
    label: str
    help: str = ""
    sort: Sort = "text"
    kinds: tuple[str, ...] = ALL
    value: Any = ""
    choices: tuple[tuple[str, str], ...] = ()


COLUMN = "The column of {}."
GROUPS: dict[str, tuple[Field, ...]] = {
    "Task": (
        Field("kind", "Kind", sort="choice", value=WRITTEN, choices=tuple(KINDS_OF_TASK.items())),
        Field("name", "Name", "Such as my-sums."),
        Field("title", "Title (optional)", "As people read it."),
    ),
    "Data": (
        Field(
            "where",
            "Where the data are",
            sort="choice",
            value="path",
            choices=(("path", "A file or folder here"), ("hub", "The Hugging Face hub")),
        ),
        Field("source.path", "File or folder", "In the server's folder of datasets, such as sums/train.jsonl."),
        Field("source.hub", "Dataset", "Such as openai/gsm8k; a folder of the task's name is read first."),
        Field("source.config", "Configuration (optional)"),
        Field("source.revision", "Revision (optional)"),
        Field("probe.split", "Split to score on", "Of a single file: all.", value="train"),
        Field("probe.share", "Share of it", "Drawn by the seed.", "percent", value=20),
        Field("test.split", "Split to measure on", "Held out for accuracy.", value="test"),
        Field("test.share", "Share of it", "Never of rows scored on.", "percent", value=100),
    ),
    "What the model is given": (
        Field("image", "Image", COLUMN.format("the image"), kinds=(IMAGES,), value="image"),
        Field("text", "Text", COLUMN.format("the text"), kinds=(TEXTS, PROSE), value="text"),
        Field("pair", "Second text (optional)", "The column of it, for pairs.", kinds=(TEXTS,)),
        Field("window", "Tokens of an example", sort="number", kinds=(PROSE,), value=256),
        Field("prompt", "Prompt", "{column} stands for a row's value.", "area", ASKED, "{question}"),
        Field("system", "System text (optional)", sort="area", kinds=ASKED),
        Field(
            "chat",
            "Chat template",
            sort="choice",
            kinds=ASKED,
            value="auto",
            choices=(("auto", "If the model has one"), ("yes", "Always"), ("no", "Never")),
        ),
    ),
    "What counts as right": (
        Field("label", "Class", COLUMN.format("the right class"), kinds=LABELLED, value="label"),
        Field("labels", "Names of the classes (optional)", "One a line, in order.", "lines", LABELLED),
        Field(
            "match",
            "Found among the model's classes",
            sort="choice",
            kinds=LABELLED,
            value="names",
            choices=(("names", "By name"), ("index", "By number")),
        ),
        Field("choices", "Choices", "One a line, the same for all rows or with {column}.", "lines", ASKED),
        Field("choices_column", "Or the column that lists them", kinds=ASKED),
        Field("key", "Right choice", "Its column: number from 0, letter or text.", kinds=ASKED, value="answer"),
        Field(
            "score",
            "A choice is likely by",
            sort="choice",
            kinds=(CHOICE,),
            value="mean",
            choices=(("mean", "Its mean token"), ("sum", "All its tokens"), ("letter", "Its letter")),
        ),
        Field("answer", "Reference answer", "Its text, with {column}.", "area", (WRITTEN,), "{answer}"),
        Field(
            "rule",
            "Answer rule",
            "How an answer is found.",
            "choice",
            (WRITTEN,),
            "exact",
            (
                ("exact", "The whole text"),
                ("number", "The last number"),
                ("gsm8k", "The number after ####"),
                ("mmlu", "“The answer is (X)”"),
                ("regex", "A regular expression"),
            ),
        ),
        Field("pattern", "Regular expression", "The answer is group 1 of its last match.", kinds=(WRITTEN,)),
        Field("max_new_tokens", "Tokens to write", "At most.", "number", (WRITTEN,), 1024),
    ),
    "Examples": (
        Field("classes", "Classes of examples (optional)", "A column; each of its values can have a map."),
        Field("limit", "At most (optional)", "Examples of either part.", "number"),
        Field("seed", "Seed (optional)", "Otherwise the run's.", "number"),
        Field(
            "on_bad",
            "A row that cannot be used",
            sort="choice",
            value="stop",
            choices=(("stop", "Stops the run"), ("skip", "Is left out and counted")),
        ),
    ),
}
FIELDS = {field.name: field for fields in GROUPS.values() for field in fields}


def _on_hub(values: Values) -> bool:
    return bool(values["where"] == "hub")


WHEN: dict[str, Callable[[Values], bool]] = {
    "source.path": lambda values: not _on_hub(values),
    "source.hub": _on_hub,
    "source.config": _on_hub,
    "source.revision": _on_hub,
    "pattern": lambda values: bool(values["rule"] == "regex"),
    "key": lambda values: bool(values["kind"] == CHOICE or values["choices"] or values["choices_column"]),
}


def shown(values: Values) -> set[str]:
    """The fields that belong to what is chosen so far."""
    return {
        field.name
        for field in FIELDS.values()
        if values["kind"] in field.kinds and (field.name not in WHEN or WHEN[field.name](values))
    }


def file_of(values: Values) -> dict[str, Any]:
    """What stands in the task file; fields left empty are left out."""
    data: dict[str, Any] = {"source": {}}
    there = shown(values)
    for field in FIELDS.values():
        value = _read(field, values[field.name])
        if field.name == "where" or field.name not in there or value in ("", None, []):
            continue
        outer, _, inner = field.name.rpartition(".")
        (data.setdefault(outer, {}) if outer else data)[inner] = value
    return data


def check(values: Values) -> tuple[TaskFile | None, dict[str, str]]:
    """The task, or what is wrong in words by field; '' is the form as a whole."""
    try:
        spec: TaskFile = parse(file_of(values), "of this form")
    except BadTask as error:
        return None, by_field(error.problems, values)
    return spec, {}


def check_text(text: str | None) -> tuple[TaskFile | None, list[str]]:
    """The task in a text of YAML or JSON, or what is wrong with it, a line for each field."""
    if not text or not text.strip():
        return None, ["Paste a task file, or drop one."]
    try:
        spec: TaskFile = parse_text(text, "in this text")
    except BadTask as error:
        return None, [f"{field}: {words}" if field else words for field, words in error.problems]
    return spec, []


def by_field(problems: list[tuple[str, str]], values: Values) -> dict[str, str]:
    """Each problem at the field that shows it; '' for what no field that is shown stands for."""
    found: dict[str, str] = {}
    there = shown(values)
    for name, words in problems:
        place = _place(next((f for start, f in BETWEEN.items() if words.startswith(start)), name), there)
        told = _plain(place, words)
        found[place] = f"{found[place]} {told}" if place in found else told
    return found


def _place(name: str, there: set[str]) -> str:
    if name == "source":  # neither of the two was given
        return "source.path" if "source.path" in there else "source.hub"
    parts = name.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in there), "")


def _plain(place: str, words: str) -> str:
    if words == "Field required" or words.startswith("give either 'path'"):
        return MISSING
    if words.startswith(("String should match pattern", "Input should be")) and place in WORDS:
        return WORDS[place]
    return words if words.endswith(".") else f"{words}."


def _read(field: Field, value: Any) -> Any:
    if field.sort == "lines":
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]
    if field.sort == "percent" and isinstance(value, int | float):
        return round(value / 100, 6)
    return value
