"""Circuits: units patched from corrupted prompts, and CPR and CMD, against passes and sums written out here."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from modelshapley import load_task
from modelshapley.errors import BadData, BadTreatment
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.evaluation.circuits import SHARES, CircuitCurve, area, circuit_curve
from modelshapley.evaluation.trials import all_answers
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, Treatment, UnitKind
from scripts.make_ioi import write
from tests.support.task_data import jsonl, model, task, tokenizer
from tests.support.toys import CONFIGS, LLAMA, ToyTask, tiny

RESAMPLE = Treatment("resample")
ROWS = [
    {"clean": f"{a} met {b} and {b} gave to ", "other": f"{a} met {b} and {a} gave to ", "right": a, "wrong": b}
    for a, b in zip("2345672", "4567234", strict=True)
]
FIELDS: dict[str, Any] = {
    "kind": "counterfactual",
    "source": {"path": "."},
    "probe": {"split": "train"},
    "prompt": "{clean}",
    "corrupted": "{other}",
    "answer": "{right}",
    "wrong": "{wrong}",
}
UNITS = [
    {UnitKind.HEAD: [(0, 1), (1, 3)]},
    {UnitKind.NEURON: [(1, 0), (1, 5), (0, 7)]},
    {UnitKind.LAYER: [1]},
    {UnitKind.HEAD: [(1, 0)], UnitKind.NEURON: [(0, 2)], UnitKind.LAYER: [0]},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    long = {name: f"a longer text: {text}" if name in ("clean", "other") else text for name, text in ROWS[0].items()}
    for split in ("train", "test"):
        jsonl(folder / f"{split}.jsonl", [*ROWS, long])
    return folder


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found = model(CONFIGS[request.param], tokenizer())
    found.model.double()
    return found


def differences(loaded: LoadedModel, rows: Any, which: str = "clean") -> list[float]:
    """The difference of the two logits after one prompt at a time."""
    found, encode = [], cast("Any", loaded.tokenizer)
    for row in rows:
        ids = encode(row[which])["input_ids"]
        right, wrong = (encode(row[name])["input_ids"][0] for name in ("right", "wrong"))
        logits = loaded.model(input_ids=torch.tensor([ids])).logits[0, -1]
        found.append(float(logits[right] - logits[wrong]))
    return found


def patched_by_hand(loaded: LoadedModel, row: Any, off: dict[UnitKind, list[Any]]) -> float:
    """The difference with activations of the corrupted prompt put in by plain hooks on the projections."""
    kept: dict[str, Tensor] = {}
    anatomy = loaded.anatomy
    places: list[tuple[str, str, slice]] = []
    for kind, units in off.items():
        for unit in units:
            layer = unit if isinstance(unit, int) else unit[0]
            for site in anatomy.sites(kind, layer):
                width = site.width or loaded.model.get_submodule(site.path).weight.shape[0]
                start = 0 if kind is UnitKind.LAYER else unit[1] * width
                stop = None if kind is UnitKind.LAYER else start + width
                places.append((site.path, site.side, slice(start, stop)))

    def hooks(change: Any) -> ExitStack:
        stack = ExitStack()
        for path, side, channels in places:
            module = loaded.model.get_submodule(path)
            key = f"{path} {side} {channels.start}"
            if side == "input":
                handle = module.register_forward_pre_hook(
                    lambda _, args, key=key, channels=channels: (change(key, args[0], channels), *args[1:])
                )
            else:
                handle = module.register_forward_hook(
                    lambda _, __, output, key=key, channels=channels: (
                        (change(key, output[0], channels), *output[1:])
                        if isinstance(output, tuple)
                        else change(key, output, channels)
                    )
                )
            stack.callback(handle.remove)
        return stack

    def keep(key: str, z: Tensor, channels: slice) -> Tensor:
        kept[key] = z[..., channels].clone()
        return z

    def put(key: str, z: Tensor, channels: slice) -> Tensor:
        z = z.clone()
        z[..., channels] = kept[key]
        return z

    with hooks(keep):
        differences(loaded, [row], "other")
    with hooks(put):
        return differences(loaded, [row])[0]


@pytest.mark.parametrize("off", UNITS, ids=lambda off: "+".join(off))
def test_patched_units_have_the_activations_of_the_corrupted_prompt(
    root: Path, loaded: LoadedModel, off: dict[UnitKind, list[Any]]
) -> None:
    pairs = task(root, FIELDS)
    examples = pairs.select(loaded, Split.TEST, 0)
    rows = [{"clean": e.prompt, "other": e.corrupted, "right": e.answer, "wrong": e.wrong} for e in examples]
    found = evaluate(loaded, pairs, Deactivation.of(off, RESAMPLE), examples)
    expected = [patched_by_hand(loaded, row, off) for row in rows]
    assert -found.losses == pytest.approx(expected, abs=1e-5)
    assert np.abs(np.array(expected) - differences(loaded, rows)).max() > 1e-3
    assert found.outcomes.tolist() == [value > 0 for value in expected]
    answers = all_answers(loaded, pairs, Deactivation.of(off, RESAMPLE))
    assert answers.tolist() == found.outcomes.tolist()
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in loaded.model.modules())


def test_a_model_whose_layers_are_all_patched_keeps_only_its_embedding(root: Path) -> None:
    """With the last layer's whole stream from the corrupted prompt, and equal last tokens, all is as corrupted."""
    loaded = model(CONFIGS["llama"], tokenizer())
    loaded.model.double()
    pairs = task(root, FIELDS)
    examples = pairs.select(loaded, Split.TEST, 0)
    off = Deactivation.of({UnitKind.LAYER: range(loaded.anatomy.shapes.layers)}, RESAMPLE)
    everything = evaluate(loaded, pairs, off, examples).losses
    assert everything == pytest.approx(evaluate(loaded, pairs, Deactivation(), pairs.corrupted(examples)).losses)


def test_the_loss_is_the_difference_of_two_logits_and_its_scores_those_of_the_prompt(
    root: Path, loaded: LoadedModel
) -> None:
    pairs = task(root, FIELDS)
    examples = pairs.select(loaded, Split.PROBE, 0)
    rows = [{"clean": e.prompt, "right": e.answer, "wrong": e.wrong} for e in examples]
    assert len({pairs.size(loaded, example) for example in examples}) == 2
    assert -pairs.losses(loaded, examples) == pytest.approx(differences(loaded, rows), abs=1e-5)
    job = Scoring(loaded, pairs, [load_method("gradient-trace")], [UnitKind.HEAD], 100)
    (found,) = score(job).values()
    gate, step = 0.0, 1e-2  # by differences, for one head
    module = loaded.model.get_submodule(loaded.anatomy.sites(UnitKind.HEAD, 1)[0].path)
    width = loaded.anatomy.sites(UnitKind.HEAD, 1)[0].width
    for sign in (1, -1):
        weight = torch.ones(width * 4, dtype=torch.float64)
        weight[width : 2 * width] = 1 + sign * step
        handle = module.register_forward_pre_hook(lambda _, args, weight=weight: (args[0] * weight,))
        gate += sign * float(np.mean(differences(loaded, rows))) / (2 * step)
        handle.remove()
    assert found.scores[UnitKind.HEAD][1, 1] == pytest.approx(abs(gate), rel=5e-3)


def test_areas_are_trapezoids_between_the_ten_shares() -> None:
    """Written out from the definition: f at each share, straight lines between them, nothing before the first."""
    rng = np.random.default_rng(0)
    heights = [*rng.normal(0.5, 0.7, len(SHARES) - 1), 1.0]
    under = distance = 0.0
    for left, right, low, high in zip(SHARES, SHARES[1:], heights, heights[1:], strict=False):
        under += (right - left) * (low + high) / 2
        distance += (right - left) * (abs(1 - low) + abs(1 - high)) / 2
    assert area(SHARES, heights) == pytest.approx(under, abs=1e-12)
    assert area(SHARES, [abs(1 - height) for height in heights]) == pytest.approx(distance, abs=1e-12)


def test_cpr_and_cmd_are_those_of_circuits_made_by_hand(root: Path, loaded: LoadedModel) -> None:
    pairs = task(root, FIELDS)
    scores = {UnitKind.HEAD: np.random.default_rng(0).normal(size=loaded.anatomy.shapes.of(UnitKind.HEAD))}
    shares = (0.3, 0.5, 1.0)
    curve = circuit_curve(loaded, pairs, scores, shares=shares)
    examples = pairs.select(loaded, Split.TEST, 0)
    rows = [{"clean": e.prompt, "other": e.corrupted, "right": e.answer, "wrong": e.wrong} for e in examples]
    whole, corrupted = np.mean(differences(loaded, rows)), np.mean(differences(loaded, rows, "other"))
    assert [curve.whole, curve.corrupted] == pytest.approx([whole, corrupted])
    order = sorted(np.ndindex(scores[UnitKind.HEAD].shape), key=lambda place: -scores[UnitKind.HEAD][place])
    found = []
    for share, point in zip(shares, curve.points, strict=True):
        kept = int(share * len(order))
        others = {UnitKind.HEAD: order[kept:]}
        metric = np.mean([patched_by_hand(loaded, row, others) for row in rows]) if others[UnitKind.HEAD] else whole
        found.append((metric - corrupted) / (whole - corrupted))
        assert [point.units, point.faithfulness] == pytest.approx([kept, found[-1]], abs=1e-5)
    a, b, c = found
    assert c == pytest.approx(1)
    assert curve.cpr == pytest.approx(0.2 * (a + b) / 2 + 0.5 * (b + c) / 2, abs=1e-5)
    assert curve.cmd == pytest.approx(
        0.2 * (abs(1 - a) + abs(1 - b)) / 2 + 0.5 * (abs(1 - b) + abs(1 - c)) / 2, abs=1e-5
    )
    assert isinstance(curve, CircuitCurve)


def test_what_cannot_be_patched_is_said(root: Path, tmp_path: Path, loaded: LoadedModel) -> None:
    toy = tiny(LLAMA)
    units = Deactivation.of({UnitKind.HEAD: [(0, 0)]}, RESAMPLE)
    with pytest.raises(BadTreatment, match="no corrupted prompts"):
        all_answers(toy, ToyTask(toy), units)
    with pytest.raises(BadTreatment, match="no corrupted prompts"):
        load_task("digits").info.check_treatment(RESAMPLE)
    task(root, FIELDS).info.check_treatment(RESAMPLE)
    with pytest.raises(ValueError, match="goes from 0 to 0"):
        Treatment("resample", 1.0)
    for changes, problem in (
        ({"other": "a prompt of another length altogether, much longer "}, "tokens and the corrupted one"),
        ({"other": ROWS[0]["clean"]}, "are the same"),
        ({"wrong": ROWS[0]["right"]}, "begin with the same token"),
    ):
        folder = tmp_path / problem.replace(" ", "-")
        for split in ("train", "test"):
            jsonl(folder / f"{split}.jsonl", [ROWS[0] | changes])
        with pytest.raises(BadData, match=problem):
            task(folder, FIELDS).select(loaded, Split.TEST)


def test_the_script_writes_pairs_of_which_only_the_giver_differs(tmp_path: Path) -> None:
    write(tmp_path / "ioi", 30, 0)
    pairs = task(tmp_path / "ioi", FIELDS | {"corrupted": "{corrupted}", "answer": "{answer}"})
    examples = pairs.examples(Split.TEST)
    assert {example.answer == example.prompt.split()[0] for example in examples} == {True, False}
    for example in examples:
        differing = [
            (clean, other)
            for clean, other in zip(example.prompt.split(), example.corrupted.split(), strict=True)
            if clean != other
        ]
        assert differing == [(example.wrong, example.answer)]
        assert example.answer in example.prompt
