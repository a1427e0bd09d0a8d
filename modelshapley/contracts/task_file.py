"""A task file: what is asked of a model and what counts as right (docs/tasks.md). YAML or JSON; torch-free."""

from __future__ import annotations

import json
import re
import string
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import regex
import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from modelshapley.contracts import Contract
from modelshapley.errors import BadTask

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
LARGEST_FILE = 1_000_000  # bytes of a task file; data lies elsewhere
WHOLE = "all"  # the split of a source that is not divided
Rule = Literal["gsm8k", "mmlu", "number", "exact", "regex"]
Column = Annotated[str, Field(min_length=1, max_length=200)]
SPLIT = r"^\w[\w.-]*$"  # a name, never a path
ALSO = {"validation": ("val", "valid", "dev"), "train": ("training",), "test": ("testing",)}
"""Other names of a split."""


def _unquoted(value: Any) -> Any:
    """YAML reads a plain no as false."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


Chat = Annotated[Literal["auto", "yes", "no"], BeforeValidator(_unquoted)]


def _fillable(template: str) -> str:
    """A template whose placeholders are plain column names: no attribute of an object can be reached."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for plain braces") from None
    for _, name, format_spec, conversion in parts:
        if name is not None and (not name or format_spec or conversion or re.search(r"[.\[\]]", name)):
            told = f"{name}{f'!{conversion}' if conversion else ''}{f':{format_spec}' if format_spec else ''}"
            raise ValueError(f"'{{{told}}}' is no placeholder; write {{column}}, and {{{{ }}}} for plain braces")
    return template


Template = Annotated[str, Field(max_length=20_000), AfterValidator(_fillable)]


def placeholders(template: str) -> list[str]:
    """The names between braces, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


class Source(Contract):
    """Where the data are: a file or folder (`path`), or a dataset of the Hugging Face hub (`hub`).

    A `path` is taken from the folder of the task file, on a server from its dataset roots. For a `hub` source, a
    folder in a dataset root is read first, so that no hub is needed: one of the task's name, or of the dataset's.
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
    field: str | None = Field(
        default=None, max_length=200, description="of a JSON file that is an object: where its rows are"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either 'path' or 'hub'")
        return self


class Part(Contract):
    """Which examples a part of the task has: a share of a split, drawn by the seed, stratified by class."""

    split: str = Field(pattern=SPLIT, max_length=100, description="its name; `all` of data that are not divided")
    share: float = Field(default=1.0, gt=0, le=1, description="how much of it, 0 to 1")


class TaskFile(Contract):
    """What all kinds of task have in common."""

    name: str = Field(pattern=SLUG, description="its id: lower-case letters, digits and hyphens")
    title: str = Field(default="", max_length=200, description="what people read")
    summary: str = Field(default="", max_length=2000, description="what is asked and what counts as right, in words")
    source: Source = Field(description="where the data are: see below")
    probe: Part = Field(
        default=Part(split="train", share=0.2), description="scores are computed on these (paper, section 5)"
    )
    test: Part = Field(default=Part(split="test"), description="accuracy is measured on these, held out")
    limit: PositiveInt | None = Field(default=None, description="at most this many examples of either part")
    seed: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="draws the parts; left out: the run's seed does"
    )
    classes: Column | None = Field(default=None, description="the column whose values have a map each (`per_class`)")
    groups: dict[str, list[str]] = Field(default={}, description="names for several classes together")
    on_bad: Literal["stop", "skip"] = Field(
        default="stop", description="what a row that cannot be used does: stop the run, or be left out and counted"
    )

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        known = {other: name for name, others in ALSO.items() for other in others}
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
    label: Column = Field(default="label", description="the column of the right class: its name or its number")
    labels: list[str] | None = Field(
        default=None, min_length=2, description="names of the classes, in order; default: as the data name them"
    )
    match: Literal["names", "index"] = Field(
        default="names", description="how classes of the data are found among the model's: by name, or by number"
    )

    @field_validator("labels")
    @classmethod
    def _once_each(cls, labels: list[str] | None) -> list[str] | None:
        for name in labels or ():
            if labels and labels.count(name) > 1:
                raise ValueError(f"{name!r} stands there twice")
        return labels


class ImageClassificationTask(LabelledTask):
    kind: Literal["image-classification"]
    image: Column = Field(default="image", description="the column of the image")


class TextClassificationTask(LabelledTask):
    kind: Literal["text-classification"]
    text: Column = Field(default="text", description="the column of the text")
    pair: Column | None = Field(default=None, description="the column of a second text, for pairs")


class PromptedTask(TaskFile):
    prompt: Template = Field(description="what the model is asked, with {column} for a row's value")
    system: str = Field(default="", max_length=20_000, description="the system text before it")
    chat: Chat = Field(default="auto", description="whether the model's chat template is put around it")
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
    def _choices_once(self) -> Self:
        if self.choices is not None and self.choices_column is not None:
            raise ValueError("give 'choices' or 'choices_column', not both")
        if self.choice_labels is not None and len(set(self.choice_labels)) < len(self.choice_labels):
            raise ValueError("'choice_labels' names one choice twice")
        return self

    @property
    def has_choices(self) -> bool:
        return self.choices is not None or self.choices_column is not None


class MultipleChoiceTask(PromptedTask):
    """`score`: mean or sum of a choice's token log-likelihoods, or those of its letter alone."""

    kind: Literal["multiple-choice"]
    score: Literal["mean", "sum", "letter"] = Field(
        default="mean",
        description="the log-likelihood that choices are compared by: mean or sum of tokens, or the letter's",
    )

    @model_validator(mode="after")
    def _choices_there(self) -> Self:
        if not self.has_choices:
            raise ValueError("give 'choices', a list, or 'choices_column', the column that holds one")
        if self.score == "letter" and "choices" not in placeholders(self.prompt):
            raise ValueError("score 'letter' needs {choices} in the prompt, where they stand with their letters")
        return self


class GenerationTask(PromptedTask):
    """The model writes; `rule` finds its answer and that of `answer`, the reference text that is also scored."""

    kind: Literal["generation"]
    answer: Template = Field(
        default="{answer}", description="the reference answer, with {column}; {letter} of a choice"
    )
    rule: Rule = Field(default="exact", description="how the answer is found in a text: see below")
    pattern: str | None = Field(
        default=None, max_length=500, description="of rule 'regex': the answer is group 1 of the last match"
    )
    max_new_tokens: int = Field(default=1024, ge=1, le=32_768, description="tokens that an answer has at most")

    @model_validator(mode="after")
    def _pattern_of_regex(self) -> Self:
        if (self.rule == "regex") != (self.pattern is not None):
            raise ValueError("'pattern' belongs to rule 'regex', which needs one")
        if self.pattern is not None:
            try:
                groups = regex.compile(self.pattern).groups
            except regex.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None
            if groups < 1:
                raise ValueError(f"pattern {self.pattern!r} has no group; put brackets around the answer")
        return self


class LanguageModellingTask(TaskFile):
    """Every token of a text from those before it, in windows: next-token accuracy, and perplexity."""

    kind: Literal["language-modelling"]
    text: Column = Field(default="text", description="the column of the text")
    window: int = Field(default=256, ge=8, le=32_768, description="tokens of an example; a text has as many as fit")


TaskSpec = Annotated[
    ImageClassificationTask | TextClassificationTask | MultipleChoiceTask | GenerationTask | LanguageModellingTask,
    Field(discriminator="kind"),
]
ADAPTER: TypeAdapter[Any] = TypeAdapter(TaskSpec)


def parse(data: Any, where: str) -> Any:
    """A checked task of one of the kinds. Raises BadTask that names each wrong field."""
    try:
        return ADAPTER.validate_python(data)
    except ValidationError as error:
        raise BadTask(
            where, [(_field(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        ) from None


def parse_text(text: str, where: str) -> Any:
    """A task out of YAML or JSON. Raises BadTask."""
    try:
        data = json.loads(text)  # YAML would read most JSON, but not its tabs and its pairs of surrogates
    except (ValueError, RecursionError):
        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise BadTask(where, [("", f"cannot be read as YAML or JSON: {error}")]) from None
    if not isinstance(data, dict):
        raise BadTask(where, [("", "must be a mapping of fields, such as 'kind: generation'")])
    return parse(data, where)


def read_file(path: Path) -> Any:
    """The task in a file. Raises BadTask."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadTask(str(path), [("", f"is larger than {LARGEST_FILE:,} bytes; is it the data?")])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTask(str(path), [("", f"cannot be read: {error}")]) from None
    return parse_text(text, str(path))


def to_yaml(spec: TaskFile) -> str:
    """The task as a file, without what is left at its default."""
    data = json.loads(spec.model_dump_json(exclude_defaults=True))
    dump = partial(yaml.safe_dump, {"kind": data["kind"]} | data, sort_keys=False, width=100)
    text: str = dump(allow_unicode=True)
    # A few rare characters come back as others unless they are escaped.
    return text if yaml.safe_load(text) == data else str(dump(allow_unicode=False))


def _field(location: tuple[int | str, ...]) -> str:
    """Without the name of the kind, which pydantic puts in front."""
    return ".".join(str(part) for part in location[1:] or location)
