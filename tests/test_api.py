"""The functions at the top of the package: they give what the rooms give, and are imported only when used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import modelshapley
from modelshapley import Deactivation, ImportanceMap, Treatment, evaluate, load_model, load_task, measure, score
from modelshapley.errors import BadTreatment, ModelShapleyError, UnknownName
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, modelshapley; modelshapley.Deactivation, modelshapley.score; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_every_name_at_the_top_exists_and_no_other() -> None:
    for name in modelshapley.__all__:
        assert getattr(modelshapley, name).__name__ == name
        assert name in dir(modelshapley)
    with pytest.raises(AttributeError, match="no attribute 'scoer'"):
        modelshapley.scoer  # noqa: B018


def test_load_score_look_switch_off_measure(digits_vit: LoadedModel) -> None:
    task = load_task("digits")
    importance_map = score(digits_vit, task, units=["head"], limit=64)
    assert isinstance(importance_map, ImportanceMap)
    assert list(importance_map.scores) == [UnitKind.HEAD]
    off = importance_map.least("head", 0.25)
    lowest = np.argsort(importance_map.scores[UnitKind.HEAD].reshape(-1))[:4]
    assert {layer * 4 + head for layer, head in off.of_kind(UnitKind.HEAD)} == set(lowest.tolist())
    comparison = measure(digits_vit, task, off, limit=200)
    assert comparison.n == 200
    examples = task.select(digits_vit, Split.TEST, 0, 200)
    with zeroed_weights(digits_vit.model, digits_vit.anatomy, off):
        assert comparison.accuracy == pytest.approx(float(task.correct(digits_vit, examples).double().mean()))
    assert evaluate(digits_vit, task, off, limit=200).accuracy == comparison.accuracy
    assert evaluate(digits_vit, task, limit=200).accuracy == comparison.intact


def test_units_held_at_their_mean_are_measured_too(digits_vit: LoadedModel) -> None:
    off = Deactivation.of({UnitKind.LAYER: [0]}, Treatment("mean"))
    assert measure(digits_vit, load_task("digits"), off, limit=100).n == 100


def test_patching_without_pairs_is_refused_before_anything_is_measured(digits_vit: LoadedModel) -> None:
    off = Deactivation.of({UnitKind.LAYER: [0]}, Treatment("resample"))
    for call in (measure, evaluate):
        with pytest.raises(BadTreatment, match="'digits' has no corrupted prompts"):
            call(digits_vit, load_task("digits"), off)


def test_wrong_names_are_named(tmp_path: Path, digits_vit: LoadedModel) -> None:
    with pytest.raises(UnknownName, match="'hed'"):
        score(digits_vit, load_task("digits"), units=["hed"])
    with pytest.raises(UnknownName, match="'neuron'"):
        score(digits_vit, load_task("digits"), units=["head"], limit=8).most("neuron", 0.1)
    with pytest.raises(ModelShapleyError, match="neither a folder"):
        load_model("no such model", data=tmp_path)
    with pytest.raises(ModelShapleyError, match="no folder"):
        load_task("digits", datasets=tmp_path / "nowhere")
