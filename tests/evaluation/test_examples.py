"""What is told of single examples is what happens to them: flips are flips, and places are where a unit acts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelshapley import load_task
from modelshapley.evaluation.examples import (
    compare_by_class,
    position_effects,
    predicted_texts,
    trial_details,
    unit_examples,
)
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.gates import hook
from modelshapley.models.loaded import LoadedModel
from modelshapley.signals.observe import signals_of
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import untouched

OFF = Deactivation.of({UnitKind.HEAD: [(0, 0), (1, 2), (2, 1), (3, 3)]})


def units_of(loaded: LoadedModel) -> list[tuple[UnitKind, tuple[int, ...]]]:
    shapes = loaded.anatomy.shapes
    return [(kind, tuple(np.argwhere(shapes.is_unit(kind))[-1].tolist())) for kind in shapes.kinds]


@pytest.mark.parametrize("name", ["vit", "gpt2", "llama", "bert", "t5", "mixtral", "qwen3_moe", "dinov2"])
def test_places_add_up_to_the_gate_derivative(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded)
    example = task.examples(Split.PROBE)[3]
    for kind, unit in units_of(loaded):
        gate = signals_of(loaded.model, loaded.anatomy, lambda: task.losses(loaded, [example]), [kind], ("gate",))
        wanted = -float(gate[kind].gate[0, unit[0], unit[1] if len(unit) > 1 else 0])
        places = position_effects(loaded, task, example, kind, unit)
        assert sum(places) == pytest.approx(wanted, rel=1e-3, abs=1e-6), (name, kind, unit)
    assert untouched(loaded)


@pytest.mark.parametrize("name", ["vit", "llama"])
@pytest.mark.parametrize("kind", [UnitKind.HEAD, UnitKind.NEURON])
def test_a_place_is_what_turning_the_unit_down_just_there_does(name: str, kind: UnitKind) -> None:
    loaded = tiny(CONFIGS[name])
    loaded.model.double()
    task = ToyTask(loaded)
    inputs, label = task.examples(Split.PROBE)[1]
    example = (inputs.double() if name == "vit" else inputs, label)
    unit = (0, 2)
    (site,) = loaded.anatomy.sites(kind, 0)
    places = position_effects(loaded, task, example, kind, unit)
    columns = slice(unit[1] * site.width, (unit[1] + 1) * site.width)
    for place in range(len(places)):

        def loss_at(change: float, place: int = place) -> float:
            factor = torch.ones(1, len(places), 1, dtype=torch.float64)
            factor[0, place] += change

            def turned(z: torch.Tensor, _: object) -> torch.Tensor:
                z = z.clone()
                z[..., columns] = z[..., columns] * factor
                return z

            handle = hook(loaded.model, site, turned)
            try:
                with torch.no_grad():
                    return float(task.losses(loaded, [example]))
            finally:
                handle.remove()

        slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02
        assert places[place] == pytest.approx(-slope, rel=1e-2, abs=1e-6)


def test_windows_are_not_places() -> None:
    loaded = tiny(CONFIGS["swin"])
    task = ToyTask(loaded)
    assert position_effects(loaded, task, task.examples(Split.PROBE)[0], UnitKind.HEAD, (0, 1)) == []


def test_the_strongest_examples_of_a_unit_come_first_with_where_in_the_picture(digits_vit: LoadedModel) -> None:
    task = load_task("digits")
    n, found = unit_examples(digits_vit, task, UnitKind.HEAD, (2, 1), limit=40)
    assert n == 40
    examples = task.select(digits_vit, Split.PROBE, 0, 40)
    gates = signals_of(
        digits_vit.model, digits_vit.anatomy, lambda: task.losses(digits_vit, examples), [UnitKind.HEAD], ("gate",)
    )[UnitKind.HEAD].gate[:, 2, 1]
    sizes = gates.abs().sort(descending=True).values[: len(found)]
    assert [abs(one.help) for one in found] == pytest.approx(sizes.tolist(), rel=1e-3)
    for one in found:
        assert one.grid == (4, 4), "the digits ViT reads patches of 2 x 2 pixels"
        assert len(one.places) == 17
        assert sum(one.places) == pytest.approx(one.help, rel=1e-2, abs=1e-7)
        assert one.example.image
    assert untouched(digits_vit)


def test_flips_are_examples_whose_answer_changed(digits_vit: LoadedModel) -> None:
    task = load_task("digits")
    intact, now = (all_answers(digits_vit, task, off) for off in (Deactivation(), OFF))
    told = trial_details(digits_vit, task, OFF, now, intact)
    assert told.n == 360
    assert told.lost == int((intact & ~now).sum()) > 5
    assert told.gained == int((now & ~intact).sum())
    assert [flip.before > flip.after for flip in told.flips] == sorted(
        (flip.before > flip.after for flip in told.flips), reverse=True
    )
    for flip in told.flips:
        assert (flip.said_before == flip.example.right) == (flip.before == 1)
        assert (flip.said_after == flip.example.right) == (flip.after == 1)
    assert sum(change.n for change in told.classes) == 360
    assert sum(change.n * change.accuracy for change in told.classes) == pytest.approx(now.sum())
    assert sum(change.n * change.intact for change in told.classes) == pytest.approx(intact.sum())
    losses = [change.difference for change in told.classes]
    assert losses == sorted(losses)
    assert untouched(digits_vit)


def test_of_an_early_stop_only_what_was_measured_is_told(digits_vit: LoadedModel) -> None:
    task = load_task("digits")
    intact, now = (all_answers(digits_vit, task, off) for off in (Deactivation(), OFF))
    told = trial_details(digits_vit, task, OFF, now[:60], intact)
    assert told.n == sum(change.n for change in told.classes) == 60
    assert told.lost == int((intact[:60] & ~now[:60]).sum())


def test_a_deactivation_that_changes_nothing_flips_nothing(digits_vit: LoadedModel) -> None:
    task = load_task("digits")
    intact = all_answers(digits_vit, task, Deactivation())
    told = trial_details(digits_vit, task, Deactivation(), intact, intact)
    assert (told.lost, told.gained, told.flips) == (0, 0, [])
    assert {change.difference for change in told.classes} == {0.0}


def test_shares_flip_by_any_part() -> None:
    now, intact = np.array([0.5, 1.0, 0.25, 0.0]), np.array([0.5, 0.5, 0.5, 0.0])
    (change,) = compare_by_class(["a", "a", "a", None], now, intact)
    assert (change.label, change.n) == ("a", 3)
    assert change.difference == pytest.approx((0 + 0.5 - 0.25) / 3)


def test_a_language_model_says_which_capital_it_chose(smollm2: LoadedModel) -> None:
    task = load_task("world-capitals")
    examples = task.select(smollm2, Split.TEST)[:6]
    said = predicted_texts(smollm2, task, examples, Deactivation())
    right = task.correct(smollm2, examples).tolist()
    assert [words == one.choices[one.answer] for words, one in zip(said, examples, strict=True)] == right
    off = Deactivation.of({UnitKind.LAYER: [(0,), (1,)]})
    assert predicted_texts(smollm2, task, examples, off) != said


def test_a_unit_acts_at_tokens(smollm2: LoadedModel) -> None:
    n, found = unit_examples(smollm2, load_task("world-capitals"), UnitKind.HEAD, (1, 4), limit=8)
    assert n == 8
    for one in found:
        assert len(one.example.tokens) - len(one.places) in (0, 1), "the last token may be read by nobody"
        assert sum(one.places) == pytest.approx(one.help, rel=2e-2, abs=1e-5)
