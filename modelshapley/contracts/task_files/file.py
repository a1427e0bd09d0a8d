"""Task files: the questions to a model and what counts as right (docs/tasks.md). YAML or JSON; torch-free."""

from __future__ import annotations

import json
import re
import string
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from modelshapley.contracts import Contract
from modelshapley.contracts.task_files import yaml_text
from modelshapley.contracts.task_files.patterns import check_pattern
from modelshapley.errors import BadTask

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
MAX_FILE_BYTES = 1_000_000  # the data are in other files
MAX_LABELS, MAX_GROUPS = 100_000, 1000
MAX_ROWS = 100  # of a split, inside a task file
WHOLE = "all"  # split name of a source without splits
Rule = Literal["gsm8k", "mmlu", "number", "exact", "regex", "tokens"]
Column = Annotated[str, Field(min_length=1, max_length=200)]
SPLIT = r"^\w[\w.-]*$"  # a name, never a path
SPLIT_ALIASES = {"validation": ("val", "valid", "dev"), "train": ("training",), "test": ("testing",)}
"""Aliases of a split's name."""


def _quote_boolean(value: Any) -> Any:
    """Turn booleans back into words: YAML reads a plain no as false."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _class_name(value: Any) -> Any:
    """Turn what YAML reads of a plain 1, yes or no back into text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _quote_boolean(value)


Chat = Annotated[Literal["auto", "yes", "no"], BeforeValidator(_quote_boolean)]


def _check_template(template: str) -> str:
    """Check that a template's placeholders are plain column names, so that it cannot reach attributes of objects."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for plain braces") from None
    for _, name, format_spec, conversion in parts:
        if name is not None and (not name or format_spec or conversion or re.search(r"[.\[\]]", name)):
            placeholder = f"{name}{f'!{conversion}' if conversion else ''}{f':{format_spec}' if format_spec else ''}"
            raise ValueError(
                f"'{{{placeholder}}}' is not a placeholder; write {{column}}, and {{{{ }}}} for plain braces"
            )
    return template


Template = Annotated[str, Field(max_length=20_000), AfterValidator(_check_template)]


def placeholders(template: str) -> list[str]:
    """Return the names between braces, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


class Source(Contract):
    """Source of the data: a file or folder (`path`), a dataset of the Hugging Face hub (`hub`), or a few `rows`.

    A `path` is relative to the folder of the task file or, on a server, to its dataset roots. For a `hub` source, a
    folder in a dataset root with the name of the task or of the dataset takes precedence, so that no hub is needed.
    """

    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="file or folder: parquet, jsonl, json, csv, txt, or folders of images",
    )
    hub: str | None = Field(
        default=None,
        pattern=r"^\w[\w.-]*(/\w[\w.-]*)?$",
        description="name of a dataset of the Hugging Face hub",
        examples=["openai/gsm8k"],
    )
    config: str | None = Field(default=None, pattern=SPLIT, max_length=200, description="of a hub dataset with several")
    revision: str | None = Field(
        default=None, max_length=100, description="of the hub dataset: a commit, tag or branch"
    )
    rows: dict[Annotated[str, Field(pattern=SPLIT, max_length=100)], list[dict[str, Any]]] | None = Field(
        default=None, min_length=1, max_length=10, description="the rows themselves, by split, instead of a file"
    )
    field: str | None = Field(
        default=None, max_length=200, description="of a JSON file that is an object: where its rows are"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.path, self.hub, self.rows].count(None) != 2:
            raise ValueError("give either 'path' or 'hub', or the 'rows' themselves")
        if any(len(rows) > MAX_ROWS for rows in (self.rows or {}).values()):
            raise ValueError(
                f"'rows' holds at most {MAX_ROWS} rows of a split; put more into a file, and give its 'path'"
            )
        return self


class Part(Contract):
    """Part of the task, probe or test: a share of a split, sampled by the seed, stratified by class."""

    split: str = Field(pattern=SPLIT, max_length=100, description="name of the split; `all` for data without splits")
    share: float = Field(default=1.0, gt=0, le=1, description="share of the split, 0 to 1")


class TaskFile(Contract):
    """Fields that all kinds of task share."""

    name: str = Field(pattern=SLUG, description="its id: lower-case letters, digits and hyphens")
    title: str = Field(default="", max_length=200, description="displayed title")
    summary: str = Field(default="", max_length=2000, description="the question and what counts as right, as text")
    source: Source = Field(description="where the data are: see below")
    probe: Part = Field(
        default=Part(split="train", share=0.2), description="scores are computed on these (paper, section 5)"
    )
    test: Part = Field(default=Part(split="test"), description="accuracy is measured on these, held out")
    limit: PositiveInt | None = Field(
        default=None, le=2**31 - 1, description="largest number of examples of either part"
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="seed that samples the parts; default: the run's seed"
    )
    classes: Column | None = Field(default=None, description="the column of classes, for a map of each (`per_class`)")
    groups: dict[str, Annotated[list[str], Field(fail_fast=True)]] = Field(
        default={}, max_length=MAX_GROUPS, description="named groups of classes"
    )
    on_bad: Literal["stop", "skip"] = Field(
        default="stop", description="what an unusable row does: stop the run, or be skipped and counted"
    )

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        known = {other: name for name, others in SPLIT_ALIASES.items() for other in others}
        probe, test = (known.get(part.split, part.split) for part in (self.probe, self.test))
        if self.probe.split != self.test.split and (probe == test or WHOLE in (probe, test)):
            raise ValueError(
                f"probe and test, of splits {self.probe.split!r} and {self.test.split!r}, would share examples; "
                "write the same split for both, with a `share` for each"
            )
        if probe == test and self.probe.share + self.test.share > 1 + 1e-9:
            raise ValueError(
                f"probe and test are both of split {self.test.split!r} and their shares are more than 1 together; "
                "the test examples must not be among those that are scored"
            )
        return self


class LabelledTask(TaskFile):
    """Fields of the classification tasks."""

    label: Column = Field(default="label", description="the column of the right class: its name or its number")
    labels: (
        Annotated[
            Annotated[list[str], Field(min_length=2, max_length=MAX_LABELS, fail_fast=True), Tag("list")]
            | Annotated[dict[str, str], Field(min_length=2, max_length=MAX_LABELS), Tag("mapping")],
            Discriminator(lambda value: "mapping" if isinstance(value, dict) else "list"),
        ]
        | None
    ) = Field(
        default=None,
        description="names of the classes, in order, or a mapping from each class of the data to the model's, by name "
        "or number, such as {spam: LABEL_1, ham: LABEL_0}; default: as the data name them",
    )
    match: Literal["names", "index"] = Field(
        default="names", description="how classes of the data are matched with the model's: by name, or by number"
    )

    @field_validator("labels")
    @classmethod
    def _no_repeats(cls, labels: list[str] | dict[str, str] | None) -> list[str] | dict[str, str] | None:
        seen: set[str] = set()
        for name in labels or ():
            if name in seen:
                raise ValueError(f"{name!r} is listed twice")
            seen.add(name)
        return labels

    @field_validator("labels", mode="before")
    @classmethod
    def _numbers_as_text(cls, labels: Any) -> Any:
        """Classes of a mapping may be written as numbers."""
        if not isinstance(labels, dict):
            return labels
        return {_class_name(name): _class_name(target) for name, target in islice(labels.items(), MAX_LABELS + 1)}


class ImageClassificationTask(LabelledTask):
    """Classification of images; right: the likeliest class is the row's."""

    kind: Literal["image-classification"]
    image: Column = Field(default="image", description="the column of the image")


class TextClassificationTask(LabelledTask):
    """Classification of texts or pairs of texts; right: the likeliest class is the row's."""

    kind: Literal["text-classification"]
    text: Column = Field(default="text", description="the column of the text")
    pair: Column | None = Field(default=None, description="the column of a second text, for pairs")


class PromptedTask(TaskFile):
    """Fields of the tasks that put a question to a language model."""

    prompt: Template = Field(description="the question, with {column} for a row's value")
    system: str = Field(default="", max_length=20_000, description="system message before the prompt")
    chat: Chat = Field(default="auto", description="whether to apply the model's chat template")
    choices: list[Template] | None = Field(
        default=None,
        min_length=2,
        max_length=26,
        description="the choices, the same for all rows or with {column}",
    )
    choices_column: Column | None = Field(default=None, description="the column that holds a row's list of choices")
    key: Column = Field(
        default="answer",
        description="the column of the right choice: its label where choices have labels, else its number from 0, its "
        "letter or its text",
    )
    choice_labels: list[str] | None = Field(
        default=None,
        min_length=2,
        max_length=26,
        description='what the key calls the choices, in order, such as ["1", "2", "3", "4"]; default: the labels in '
        "the data, else letters and numbers from 0",
    )

    @model_validator(mode="after")
    def _one_choices_field(self) -> Self:
        if self.choices is not None and self.choices_column is not None:
            raise ValueError("give 'choices' or 'choices_column', not both")
        if self.choice_labels is not None and len(set(self.choice_labels)) < len(self.choice_labels):
            raise ValueError("'choice_labels' names one choice twice")
        return self

    @property
    def has_choices(self) -> bool:
        return self.choices is not None or self.choices_column is not None


class MultipleChoiceTask(PromptedTask):
    """Multiple choice by log-likelihood; `score`: mean or sum over a choice's tokens, or its letter alone."""

    kind: Literal["multiple-choice"]
    score: Literal["mean", "sum", "letter"] = Field(
        default="mean",
        description="log-likelihood that ranks the choices: mean or sum over tokens, or the letter's",
    )

    @model_validator(mode="after")
    def _has_choices(self) -> Self:
        if not self.has_choices:
            raise ValueError("give 'choices', a list, or 'choices_column', the column that holds one")
        if self.score == "letter" and "choices" not in placeholders(self.prompt):
            raise ValueError("score 'letter' needs {choices} in the prompt, which lists them with their letters")
        return self


class GenerationTask(PromptedTask):
    """Generation; `rule` finds the answer in the generated text and in `answer`, the reference text, which is
    scored.
    """

    kind: Literal["generation"]
    answer: Template = Field(
        default="{answer}", description="the reference answer, with {column}; {letter} of a choice"
    )
    answer_tokens: Column | None = Field(
        default=None,
        description="the column of the reference answer's token numbers, which are scored instead of those that the "
        "tokenizer gives for `answer`",
    )
    rule: Rule = Field(default="exact", description="rule that finds the answer in a text: see below")
    pattern: str | None = Field(
        default=None, max_length=500, description="for rule 'regex': the answer is group 1 of the last match"
    )
    max_new_tokens: int = Field(default=1024, ge=1, le=32_768, description="largest number of tokens of an answer")

    @model_validator(mode="after")
    def _check_pattern(self) -> Self:
        if (self.rule == "regex") != (self.pattern is not None):
            raise ValueError("'pattern' belongs to rule 'regex', which needs one")
        if self.pattern is not None:
            check_pattern(self.pattern)
        return self


class LanguageModellingTask(TaskFile):
    """Language modelling: every token of a text from those before it, in windows; accuracy and perplexity."""

    kind: Literal["language-modelling"]
    text: Column = Field(default="text", description="the column of the text")
    window: int = Field(
        default=256, ge=8, le=32_768, description="tokens of an example; a text gives as many windows as fit"
    )


class CounterfactualTask(TaskFile):
    """Pairs of prompts that differ in what decides the answer; the metric is the difference of two logits."""

    kind: Literal["counterfactual"]
    prompt: Template = Field(description="the clean prompt, with {column} for a row's value")
    corrupted: Template = Field(description="the corrupted prompt, of as many tokens, from which units are patched in")
    answer: Template = Field(description="the right continuation of the clean prompt; its first token counts")
    wrong: Template = Field(description="the continuation that the corrupted prompt has; its first token counts")


TaskSpec = Annotated[
    ImageClassificationTask
    | TextClassificationTask
    | MultipleChoiceTask
    | GenerationTask
    | LanguageModellingTask
    | CounterfactualTask,
    Field(discriminator="kind"),
]
ADAPTER: TypeAdapter[Any] = TypeAdapter(TaskSpec)


def parse(data: Any, where: str) -> Any:
    """Validate a task of any kind. Raises BadTask that names each wrong field."""
    try:
        return ADAPTER.validate_python(data)
    except ValidationError as error:
        raise BadTask(
            where, [(_field_path(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        ) from None


def parse_text(text: str, where: str) -> Any:
    """Parse a task from YAML or JSON. Raises BadTask."""
    if len(text) > MAX_FILE_BYTES:
        raise BadTask(where, [("", f"is longer than {MAX_FILE_BYTES:,} characters; is it the data?")])
    try:
        data = yaml_text.load(text)
    except ValueError as error:
        raise BadTask(where, [("", str(error))]) from None
    if not isinstance(data, dict):
        raise BadTask(where, [("", "must be a mapping of fields, such as 'kind: generation'")])
    return parse(data, where)


def read_file(path: Path) -> Any:
    """Read the task in a file. Raises BadTask."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadTask(str(path), [("", f"is larger than {MAX_FILE_BYTES:,} bytes; is it the data?")])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTask(str(path), [("", f"cannot be read: {error}")]) from None
    return parse_text(text, str(path))


def to_yaml(spec: TaskFile) -> str:
    """Format the task as YAML, without fields at their default."""
    data = json.loads(spec.model_dump_json(exclude_defaults=True))
    data = {"kind": data["kind"]} | data
    text = yaml_text.dump(data, allow_unicode=True)
    # A few rare characters change in a YAML round trip unless they are escaped.
    return text if yaml_text.load_yaml(text) == data else yaml_text.dump(data, allow_unicode=False)


def _field_path(location: tuple[int | str, ...]) -> str:
    """Format the path of a field, without the name of the kind, which pydantic puts first."""
    parts = location[1:] or location
    if parts[:1] == ("labels",) and parts[1:2] in (("list",), ("mapping",)):  # pydantic's name for the form it took
        parts = (parts[0], *parts[2:])
    return ".".join(map(str, parts))
