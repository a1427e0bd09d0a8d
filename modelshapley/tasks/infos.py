"""Descriptions of the tasks; torch-free, so that the API can list them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from modelshapley.contracts import Modality
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.contracts.task_files.file import Source, TaskFile, parse_text

DIGITS = TaskInfo(
    id="digits",
    title="Handwritten digits",
    kind="image-classification",
    modality="image",
    auto_class="AutoModelForImageClassification",
    summary="8 x 8 grey images of handwritten digits (scikit-learn's); right: the digit with the highest logit.",
    probe_examples=288,
    test_examples=360,
    classes="digits",
    source="scikit-learn",
)
WORLD_CAPITALS = TaskInfo(
    id="world-capitals",
    title="World capitals",
    kind="multiple-choice",
    modality="text",
    auto_class="AutoModelForCausalLM",
    summary=(
        "'The capital of X is' with four capitals of the same continent; "
        "right: the one with the highest mean token log-likelihood."
    ),
    probe_examples=64,
    test_examples=94,
    classes="continents",
    source="GeoNames",
)
KINDS: dict[str, tuple[Modality, str]] = {
    "image-classification": ("image", "AutoModelForImageClassification"),
    "text-classification": ("text", "AutoModelForSequenceClassification"),
    "multiple-choice": ("text", "AutoModelForCausalLM"),
    "generation": ("text", "AutoModelForCausalLM"),
    "language-modelling": ("text", "AutoModelForCausalLM"),
    "counterfactual": ("text", "AutoModelForCausalLM"),
}
ORDER = ("gsm8k", "mmlu", "mmlu-choice", "cifar100", "imagenet")


def info_of(spec: Any, own: bool = False) -> TaskInfo:
    """Describe a task file without reading its data."""
    modality, auto_class = KINDS[spec.kind]
    return TaskInfo(
        id=spec.name,
        title=spec.title or spec.name,
        kind=spec.kind,
        modality=modality,
        auto_class=auto_class,
        summary=spec.summary,
        classes=spec.classes or getattr(spec, "label", None),
        source=_describe_source(spec.source),
        own=own,
    )


@cache
def built_in_files() -> dict[str, TaskFile]:
    """Return the built-in task files by name."""
    folder = resources.files("modelshapley") / "assets" / "tasks"
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in ORDER}
    return {name: parse_text(text, name) for name, text in texts.items()}


def _describe_source(source: Source) -> str:
    if source.rows is not None:
        return "the task file"
    if source.path is not None:
        return source.path
    return f"{source.hub}{f' ({source.config})' if source.config else ''} on the Hugging Face hub"


TASKS: dict[str, TaskInfo] = {info.id: info for info in (DIGITS, WORLD_CAPITALS)} | {
    name: info_of(spec) for name, spec in built_in_files().items()
}
