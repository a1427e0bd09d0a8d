"""Single examples through API, queue and worker: what this process finds, else clear words."""

from __future__ import annotations

from typing import Any

import pytest

from modelshapley import client, load_task
from modelshapley.client import ApiError, Call, Client
from modelshapley.contracts import Off, Run, Status, TrialRequest
from modelshapley.evaluation.examples import trial_details, unit_examples
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, UnitKind

OFF = Off(head=[(0, 0), (1, 2)], layer=[3])


def test_behind_a_trial_are_its_classes_and_flips(api: Client, digits_run: Run, digits_vit: LoadedModel) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=OFF))
    told = api.details(trial.id)
    assert told.status is Status.DONE, told.error
    task = load_task("digits")
    after, before = (all_answers(digits_vit, task, off) for off in (OFF.deactivation(), Deactivation()))
    wanted = trial_details(digits_vit, task, OFF.deactivation(), after, before, trial=trial.id)
    assert told == wanted
    assert sum(change.n * change.accuracy for change in told.classes) / told.n == pytest.approx(trial.accuracy)
    assert (told.gained - told.lost) / told.n == pytest.approx(trial.difference)
    assert api.details(trial.id) == told, "asked again, it is there"


def test_of_an_early_stop_its_own_examples_are_told(api: Client, digits_run: Run) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=Off(layer=[1], head=[(0, 3)]), half_width=0.08))
    assert trial.n < trial.total
    told = api.details(trial.id)
    assert told.n == trial.n
    assert (told.gained - told.lost) / told.n == pytest.approx(trial.difference)


def test_examples_of_a_unit(api: Client, digits_run: Run, digits_vit: LoadedModel) -> None:
    told = api.unit_examples(digits_run.id, UnitKind.HEAD, (2, 1))
    assert told.status is Status.DONE, told.error
    n, wanted = unit_examples(digits_vit, load_task("digits"), UnitKind.HEAD, (2, 1), limit=digits_run.limit)
    assert told.n == n
    assert [one.example for one in told.examples] == [one.example for one in wanted]
    assert [one.help for one in told.examples] == pytest.approx([one.help for one in wanted], rel=1e-3)
    assert api.unit_examples(digits_run.id, UnitKind.LAYER, (3,)).examples


def test_trials_of_one_unit_alone_are_found(api: Client, digits_run: Run) -> None:
    alone = api.measure(TrialRequest(run=digits_run.id, off=Off(head=[(3, 2)])))
    api.measure(TrialRequest(run=digits_run.id, off=Off(head=[(3, 2), (3, 1)])))
    assert [trial.id for trial in api.run_trials(digits_run.id, alone="head:3.2")] == [alone.id]
    assert api.run_trials(digits_run.id, alone="neuron:3.2") == []
    for wrong in ("head:3", "layer:1.2", "rows:1.1", "head:x.y"):
        with pytest.raises(ApiError, match="422"):
            api.run_trials(digits_run.id, alone=wrong)


@pytest.mark.parametrize(
    ("kind", "unit", "words"),
    [
        (UnitKind.HEAD, (9, 0), "layers go from 0 to 3"),
        (UnitKind.HEAD, (1,), "2 indices, not 1"),
        (UnitKind.LAYER, (1, 0), "1 indices, not 2"),
        (UnitKind.EXPERT, (0, 0), "expert"),
    ],
)
def test_units_that_are_not_there(
    api: Client, digits_run: Run, kind: UnitKind, unit: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ApiError, match=words) as refused:
        api.unit_examples(digits_run.id, kind, unit)
    assert refused.value.problem.status in (404, 422)


def test_what_nobody_asked_for_is_not_there(api: Client, digits_run: Run) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=Off(neuron=[(1, 17)])))
    calls: tuple[tuple[Call[Any], int, str], ...] = (
        (client.trial_details(trial.id), 409, "were not requested, or more than an hour ago"),
        (client.unit_examples(digits_run.id, "nothing"), 404, "kept for an hour"),
    )
    for call, status, words in calls:
        with pytest.raises(ApiError, match=words) as refused:
            api.send(call)
        assert refused.value.problem.status == status
    with pytest.raises(ApiError, match="There is no trial"):
        api.details("nope")
