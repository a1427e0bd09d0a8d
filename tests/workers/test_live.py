"""Trials while other things go on: runs, other people, lost workers; through the real API, queue and workers."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import numpy as np
import pytest

from modelshapley import load_task
from modelshapley.client import ApiError, Client
from modelshapley.contracts import GroupRequest, Off, Run, Status, Trial, TrialRequest
from modelshapley.evaluation.activations import activations_of
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Treatment
from tests.conftest import CAPITALS_RUN, DIGITS_RUN, Server, StartServer
from tests.support.short_model import put_short_model
from tests.workers.test_recovery import SLOW_RUN, until_scoring, worker_pids

QUICK = DIGITS_RUN.model_copy(update={"faithfulness": "none", "methods": ["two-sided", "mean-abs"]})


def off_heads(*heads: tuple[int, int]) -> Off:
    return Off(head=list(heads))


def states_of(api: Client, trial: Trial) -> list[Trial]:
    return [event.data for event in api.trial_events(trial.id)]


@pytest.mark.slow
def test_a_trial_comes_in_while_a_run_is_scored_and_neither_harms_the_other(
    api: Client, server: Server, digits_run: Run
) -> None:
    slow = SLOW_RUN.model_copy(update={"model": put_short_model(server.data)})
    calm = api.wait(api.submit_run(slow).id)
    asked = TrialRequest(run=calm.id, off=off_heads((3, 1), (4, 4)))
    before = api.measure(asked)
    run = api.submit_run(slow.model_copy(update={"methods": ["two-sided", "mean-abs", "gradient"]}))
    until_scoring(api, run.id)
    trial = api.measure(TrialRequest(run=digits_run.id, off=off_heads((1, 2), (3, 0), (2, 2))))
    same_model = api.measure(asked.model_copy(update={"off": off_heads((3, 1), (4, 4), (5, 8))}))
    during = api.run(run.id)
    assert during.status is Status.RUNNING, "the trials waited for the run"
    assert trial.status is same_model.status is Status.DONE
    run = api.wait(run.id)
    assert run.status is Status.DONE, run.error
    for unit in ("head", "neuron"):
        disturbed, undisturbed = (api.importance_map(r.id, "two-sided", unit) for r in (run, calm))
        assert np.allclose(np.array(disturbed.scores, float), np.array(undisturbed.scores, float), rtol=1e-4, atol=1e-9)
    assert run.intact == calm.intact
    again = api.measure(asked.model_copy(update={"treatment": Treatment("scale", 1e-9)}))
    assert again.accuracy == before.accuracy, "measured anew after all this, off is still off"


@pytest.mark.slow
def test_two_people_take_turns(api: Client, server: Server) -> None:
    """A long trial does not keep another person waiting to its end."""
    run = api.wait(api.submit_run(SLOW_RUN.model_copy(update={"model": put_short_model(server.data), "limit": 8})).id)
    api.measure(TrialRequest(run=run.id, off=off_heads((0, 0))))
    asked = [TrialRequest(run=run.id, off=Off(layer=[0], head=[(5, n)]), session=f"person-{n}") for n in range(2)]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda request: timed(api, request), asked))
    first = [min(when for when, trial in states if trial.n) for states in told]
    done = [states[-1][0] for states in told]
    assert all(states[-1][1].status is Status.DONE for states in told)
    assert max(first) < min(done), "the second was told nothing before the first was done"
    for states, request in zip(told, asked, strict=True):
        seen = [trial.n for _, trial in states]
        assert seen == sorted(seen), "nothing that was measured is thrown away between two turns"
        assert states[-1][1].restarts == 0
        assert states[-1][1].off == request.off


def timed(api: Client, request: TrialRequest) -> list[tuple[float, Trial]]:
    trial = api.submit_trial(request)
    return [(time.monotonic(), event.data) for event in api.trial_events(trial.id)]


def test_events_are_numbered_and_a_reconnect_goes_on_after_the_last(
    server: Server, api: Client, digits_run: Run
) -> None:
    trial = api.measure(TrialRequest(run=digits_run.id, off=Off(neuron=[(0, 1), (2, 7)], layer=[1])))
    url = f"{server.url}/api/v1/trials/{trial.id}/events"
    everything = events(url, "0-0")
    numbers = [number for number, _ in everything]
    assert numbers == sorted(set(numbers))
    assert [number for number, told in everything] == [told.sequence for _, told in everything]
    assert everything[-1][1].status is Status.DONE
    assert everything[-1][1].n == 360
    middle = numbers[len(numbers) // 2]
    assert [number for number, _ in events(url, f"{middle}-0")] == [n for n in numbers if n > middle]


def events(url: str, last_id: str) -> list[tuple[int, Trial]]:
    with httpx.stream("GET", url, headers={"Last-Event-ID": last_id}) as answer:
        lines = list(answer.iter_lines())
    ids = [int(line[3:].strip().split("-")[0]) for line in lines if line.startswith("id:")]
    told = [Trial.model_validate_json(line[5:]) for line in lines if line.startswith("data:")]
    return list(zip(ids, told, strict=True))


def test_an_equal_trial_of_another_run_is_answered_at_once(api: Client, digits_run: Run) -> None:
    other = api.wait(api.submit_run(QUICK).id)
    asked = TrialRequest(run=digits_run.id, off=off_heads((0, 3), (2, 1)))
    measured = api.measure(asked)
    found = api.submit_trial(asked.model_copy(update={"run": other.id, "session": "another person"}))
    assert found.status is Status.DONE
    assert found.run == other.id
    assert found.id != measured.id
    assert (found.accuracy, found.interval, found.n) == (measured.accuracy, measured.interval, measured.n)
    assert set(found.predicted) == set(other.methods), "what its own maps predict, not the other run's"
    treated = api.submit_trial(asked.model_copy(update={"treatment": Treatment("scale", 0.5)}))
    assert not treated.status.ended
    elsewhere = api.wait(api.submit_run(QUICK.model_copy(update={"seed": 11})).id)
    assert not api.submit_trial(asked.model_copy(update={"run": elsewhere.id})).status.ended, "other test examples"


def test_a_trial_stops_once_it_is_as_sharp_as_asked_and_goes_on_from_there(
    server: Server, api: Client, digits_run: Run
) -> None:
    asked = TrialRequest(run=digits_run.id, off=off_heads((0, 2), (1, 0), (3, 3)), half_width=0.05)
    early = api.measure(asked)
    assert early.status is Status.DONE
    assert 0 < early.n < early.total == 360
    low, high = early.interval or (0, 1)
    assert (high - low) / 2 <= 0.05
    assert api.submit_trial(asked).id == early.id
    assert api.submit_trial(asked.model_copy(update={"half_width": 0.06})).id == early.id
    everything = api.submit_trial(asked.model_copy(update={"half_width": None}))
    assert everything.status is Status.QUEUED
    assert everything.n == early.n, "goes on after what is known"
    done = states_of(api, everything)[-1]
    assert done.n == done.total == 360
    assert api.submit_trial(asked).id == everything.id, "of several, the one on most examples answers"
    answer = httpx.post(f"{server.url}/api/v1/trials", json={"run": digits_run.id, "off": {}, "half_width": 0})
    assert answer.status_code == 422
    assert "half_width" in answer.text


def test_the_prediction_is_the_sum_of_the_scores(api: Client, digits_run: Run) -> None:
    off = Off(head=[(0, 1), (2, 2)], neuron=[(1, 4), (3, 9)], layer=[2])
    trial = api.submit_trial(TrialRequest(run=digits_run.id, off=off))
    assert set(trial.predicted) == set(digits_run.methods)
    for method, predicted in trial.predicted.items():
        kinds = ("head", "neuron", "layer")
        maps = {unit: np.array(api.importance_map(digits_run.id, method, unit).scores, float) for unit in kinds}
        total = sum(maps["head"][layer][i] for layer, i in off.head) + sum(
            maps["neuron"][layer][i] for layer, i in off.neuron
        )
        assert predicted == pytest.approx(total + maps["layer"][2][0], rel=1e-5)
    half = api.submit_trial(TrialRequest(run=digits_run.id, off=off, treatment=Treatment("scale", 0.5)))
    assert half.predicted["two-sided"] == pytest.approx(trial.predicted["two-sided"] / 2)
    assert api.submit_trial(TrialRequest(run=digits_run.id, off=off, treatment=Treatment("mean"))).predicted == {}


def test_what_was_tried_is_listed_for_everybody(api: Client) -> None:
    run = api.wait(api.submit_run(QUICK.model_copy(update={"limit": 32})).id)
    assert api.run_trials(run.id) == []
    first = api.measure(TrialRequest(run=run.id, off=off_heads((1, 1)), session="one"))
    superseded = api.submit_trial(TrialRequest(run=run.id, off=Off(layer=[0, 1]), session="two"))
    second = api.measure(TrialRequest(run=run.id, off=off_heads((3, 1)), session="two"))
    listed = api.run_trials(run.id)
    expected = [second.id, first.id]
    assert [trial.id for trial in listed if trial.id != superseded.id] == expected
    assert [trial.id for trial in api.run_trials(run.id, limit=1)] == [second.id]
    with pytest.raises(ApiError, match="no run 'nope'"):
        api.run_trials("nope")


def test_groups_belong_to_a_model(api: Client, digits_run: Run) -> None:
    group = api.add_group(GroupRequest(name="mine", model=digits_run.model, off=off_heads((0, 1), (1, 1))))
    assert group.counts["head"] == 2
    assert [g.name for g in api.groups(digits_run.model)] == ["mine"]
    assert api.groups(CAPITALS_RUN.model) == []
    for bad, words in (
        (GroupRequest(name="mine", model=digits_run.model, off=off_heads((0, 2))), "already has a group 'mine'"),
        (GroupRequest(name="other", model=digits_run.model, off=off_heads((9, 0))), "layers go from 0 to 3"),
        (GroupRequest(name="none", model=digits_run.model, off=Off()), "at least one unit"),
        (GroupRequest(name="where", model="demo:nothing", off=off_heads((0, 0))), "no model 'demo:nothing'"),
    ):
        with pytest.raises(ApiError, match=words):
            api.add_group(bad)
    api.drop_group(group.id)
    assert api.groups(digits_run.model) == []
    with pytest.raises(ApiError, match="no group"):
        api.drop_group(group.id)


@pytest.mark.slow
def test_workers_tell_what_they_keep(api: Client, digits_run: Run, capitals_run: Run) -> None:
    for run in (digits_run, capitals_run):
        api.measure(TrialRequest(run=run.id, off=off_heads((2, 0), (2, 1))))
    (worker,) = api.workers()
    assert worker.warm is not None
    sizes = {kept.model: kept.bytes for kept in worker.warm.models}
    assert sizes[digits_run.model] == pytest.approx(4 * 185_162, rel=0.01)
    assert sizes[capitals_run.model] == pytest.approx(4 * 134.5e6, rel=0.01)
    assert sum(sizes.values()) < worker.warm.model_budget
    kept = {(probes.model, probes.task, probes.seed): probes for probes in worker.warm.probes}
    assert kept[digits_run.model, "digits", 0].bytes > 1e6
    for run in (digits_run, capitals_run):  # the server is shared: other tests' probes may well be refused
        assert kept[run.model, run.task, 0].refused is None


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_workers_trial_is_measured_again_and_says_so(start_server: StartServer) -> None:
    """Two workers, one of which holds the model; a small budget drops what was used least recently."""
    server = start_server("--workers", "1", MODELSHAPLEY_MODEL_MEMORY_BYTES="0")
    with Client(server.url) as api:
        digits = api.wait(api.submit_run(QUICK.model_copy(update={"limit": 16})).id)
        short = put_short_model(server.data)
        run = api.wait(api.submit_run(CAPITALS_RUN.model_copy(update={"model": short, "limit": 8})).id)
        (worker,) = api.workers()
        assert [kept.model for kept in worker.warm.models] == [run.model], "no room for both"
        trial = api.submit_trial(TrialRequest(run=run.id, off=Off(layer=[0])))
        for event in api.trial_events(trial.id):
            if event.data.n:
                break
        (pid,) = worker_pids(api)
        os.kill(pid, signal.SIGKILL)
        told = states_of(api, trial)
        assert told[-1].status is Status.DONE, told[-1].error
        assert told[-1].restarts == 1
        assert told[-1].n == told[-1].total
        calm = api.measure(TrialRequest(run=run.id, off=Off(layer=[0]), treatment=Treatment("scale", 1e-9)))
        assert told[-1].accuracy == calm.accuracy
        assert api.measure(TrialRequest(run=digits.id, off=Off(layer=[0]))).status is Status.DONE


@pytest.mark.slow
def test_trials_go_to_the_worker_that_holds_the_model(start_server: StartServer) -> None:
    server = start_server("--workers", "2")
    with Client(server.url) as api:
        run = api.wait(api.submit_run(QUICK).id)
        for number in range(12):
            api.measure(TrialRequest(run=run.id, off=off_heads((number % 4, number // 4))))
        holders = [w for w in api.workers() if any(kept.model == run.model for kept in w.warm.models)]
        assert len(holders) == 1, "the other worker loaded the model too"
        assert holders[0].pid is not None
        os.kill(holders[0].pid, signal.SIGKILL)
        began = datetime.now()
        assert api.measure(TrialRequest(run=run.id, off=Off(layer=[0]))).status is Status.DONE
        assert (datetime.now() - began).total_seconds() < 60


@pytest.mark.parametrize(
    "treatment", [Treatment("scale", 0.5), Treatment("scale", 2.0), Treatment("mean"), Treatment("offset", 3.0)]
)
def test_what_is_done_to_units_is_what_was_asked(
    api: Client, digits_run: Run, digits_vit: LoadedModel, treatment: Treatment
) -> None:
    """As measured in this process; there it is compared with changed weights (tests/evaluation/test_treatments.py)."""
    off = Off(head=[(0, 1), (1, 0), (2, 2)], neuron=[(0, n) for n in range(20)], layer=[1])
    trial = api.measure(TrialRequest(run=digits_run.id, off=off, treatment=treatment))
    assert trial.status is Status.DONE, trial.error
    assert trial.treatment == treatment
    task = load_task("digits")
    activations = activations_of(digits_vit, task)
    ours = all_answers(digits_vit, task, off.deactivation(treatment), activations=activations)
    assert trial.accuracy == pytest.approx(ours.mean())
    switched_off = api.measure(TrialRequest(run=digits_run.id, off=off))
    assert trial.accuracy != switched_off.accuracy


def test_units_scaled_by_one_change_nothing(api: Client, digits_run: Run) -> None:
    asked = TrialRequest(run=digits_run.id, off=Off(layer=[0, 1, 2]), treatment=Treatment("scale", 1.0))
    trial = api.measure(asked)
    assert trial.difference == 0
    assert digits_run.intact is not None
    assert trial.accuracy == digits_run.intact.accuracy
    assert set(trial.predicted.values()) == {0.0}


@pytest.mark.slow
def test_a_trial_that_a_dead_worker_should_have_measured_does_not_wait_for_a_long_run(
    start_server: StartServer,
) -> None:
    house = start_server()
    with Client(house.url) as api:
        digits = api.wait(api.submit_run(QUICK).id)
        (dead,) = worker_pids(api)
        os.kill(dead, signal.SIGKILL)
        changes = {"model": put_short_model(house.data), "methods": ["path-shapley"], "limit": 256}
        long = api.submit_run(SLOW_RUN.model_copy(update=changes))
        trial = api.submit_trial(TrialRequest(run=digits.id, off=off_heads((1, 2))))
        assert states_of(api, trial)[-1].status is Status.DONE
        assert api.run(long.id).status is Status.RUNNING, "the trial waited for the run"
        (pid,) = {worker.pid for worker in api.workers() if worker.current == f"run:{long.id}"}
        assert pid is not None
        time.sleep(3)  # within a batch, whose passes take minutes
        cancelled = time.monotonic()
        api.cancel_run(long.id)
        while any(worker.current == f"run:{long.id}" for worker in api.workers()):
            assert time.monotonic() - cancelled < 5
            time.sleep(0.1)
        os.kill(pid, 0)  # it was not ended by force
