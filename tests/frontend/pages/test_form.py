"""The submit form's check, in words by field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from frontend.pages.submit.form import MAX_EXAMPLES, MAX_SEED, validate
from modelshapley.contracts import ModelInfo, RunRequest
from modelshapley.tasks.infos import TASKS

MODELS = [
    ModelInfo(
        id="demo:digits-vit",
        title="Digits ViT",
        auto_class="AutoModelForImageClassification",
        shapes={"head": [4, 4]},
    ),
    ModelInfo(id="demo:smollm2-135m", title="SmolLM2", auto_class="AutoModelForCausalLM", shapes={"head": [30, 9]}),
]
GOOD: dict[str, Any] = {
    "model": "demo:digits-vit",
    "task": "digits",
    "methods": ["two-sided"],
    "units": ["head"],
    "limit": 16,
    "seed": 0,
}


def problems(**changes: Any) -> dict[str, str]:
    return validate(**(GOOD | changes), models=MODELS, tasks=list(TASKS.values()))


def test_nothing_is_wrong_with_a_good_form() -> None:
    assert problems() == {}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model", None, "Choose a model"),
        ("task", None, "Choose a task"),
        ("task", "world-capitals", "needs a causal language model. Digits ViT is a model that classifies images"),
        ("methods", [], "at least one method"),
        ("units", [], "at least one kind of unit"),
        ("units", ["head", "expert"], "Digits ViT has no experts"),
        ("limit", 0, "at least 1"),
        ("limit", "", "at least 1"),
        ("limit", 1.5, "at least 1"),
        ("limit", MAX_EXAMPLES + 1, "At most 1,000,000"),
        ("seed", -1, "at least 0"),
        ("seed", MAX_SEED + 1, "At most 2,147,483,647"),
    ],
)
def test_each_mistake_is_told_at_its_field(field: str, value: Any, words: str) -> None:
    found = problems(**{field: value})
    assert set(found) == {field}
    assert words in found[field]


def test_the_form_allows_exactly_what_the_api_allows() -> None:
    RunRequest(model="m", task="t", limit=MAX_EXAMPLES, seed=MAX_SEED)
    for wrong in ({"limit": MAX_EXAMPLES + 1}, {"seed": MAX_SEED + 1}):
        with pytest.raises(ValidationError):
            RunRequest(model="m", task="t", **wrong)
