"""The page to try a prompt: its words, and the comparison of an answer's map with that of a run."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from frontend.figures.planes import Plane
from frontend.pages.prompts.answer_map import comparison_card, plane_of
from frontend.pages.prompts.form import suitable
from frontend.pages.prompts.page import described, readable
from modelshapley.contracts import MapData, ModelInfo
from modelshapley.contracts.prompts import PromptRequest
from modelshapley.units import Deactivation, Treatment, UnitKind


def plane(scores: np.ndarray) -> Plane:
    return Plane("r", "two-sided", UnitKind.HEAD, list(scores.shape), scores, scores, "", False, {})


def test_units_that_matter_in_one_map_only_are_listed_with_both_ranks() -> None:
    here = np.arange(40, dtype=float).reshape(4, 10)
    there = here.copy()
    there[3, 9], there[0, 0] = -1.0, 100.0  # the first here is the last there, and the other way round
    text = str(comparison_card(UnitKind.HEAD, plane(here), plane(there)).to_plotly_json())
    only_here, only_there = text.split("Matter on the task, not here")
    assert "head 3.9" in only_here
    assert "head 0.0" in only_there
    assert "1 of 2 are in both" in only_here
    assert "'40'" in only_here
    assert "'40'" in only_there


def test_missing_numbers_of_an_answer_are_no_units() -> None:
    data = MapData(
        run="p", method="m", unit=UnitKind.HEAD, shape=[1, 2], scores=[[1.0, None]], standard_errors=[[None, None]],
        quantity="q", signed=False, provenance={},
    )  # fmt: skip
    assert np.isnan(plane_of(data).scores[0, 1])
    assert plane_of(data).counts == [1]


def test_a_selection_is_described_with_its_treatment() -> None:
    assert described(Deactivation.of({UnitKind.HEAD: [(0, 1)]}, Treatment("mean"))) == "head 0.1 at their mean"
    many = Deactivation.of({UnitKind.HEAD: [(0, i) for i in range(9)]}, Treatment("offset", 2.0))
    assert described(many) == "9 heads plus 2 standard deviations"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"temperature": None}, "Temperature: Input should be a valid number."),
        ({"max_new_tokens": 0}, "Tokens, at most: Input should be greater than or equal to 1."),
        ({"seed": 1.5}, "Seed: "),
        ({"prompt": " "}, "'prompt' is empty"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PromptRequest.model_validate({"model": "m", "prompt": "p"} | change)
    assert sentence in readable(caught.value)


def test_only_models_that_can_answer_are_offered() -> None:
    models = [
        ModelInfo(id=name, title=name, auto_class=name, usable=usable)
        for name, usable in (
            ("AutoModelForCausalLM", True),
            ("AutoModelForMaskedLM", True),
            ("AutoModelForImageClassification", True),
            ("AutoModelForCausalLM", False),
        )
    ]
    assert suitable(models) == [models[0], models[2]]
