"""Every run's maps are checked by switching off, in the background, and the report says what was found."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr

from backend.store.files import Storage
from backend.store.records import Records
from modelshapley import load_task
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Mark, Off, Run, RunRequest, Status, TrialRequest
from modelshapley.evaluation.verdict import verdict
from modelshapley.methods import load_method
from modelshapley.models.catalog import Catalog
from modelshapley.models.loading import load
from modelshapley.scoring.job import Scoring, accumulate
from modelshapley.units import UnitKind
from tests.conftest import CAPITALS_RUN, TEST_DATA, Server, StartServer
from tests.support.short_model import put_short_model


def test_the_report_of_a_run(api: Client, digits_run: Run) -> None:
    report = api.checked(digits_run.id)
    assert (report.status, report.effort, report.error) == (Status.DONE, "quick", None)
    assert report.progress.done == report.progress.total
    assert {(m.method, m.unit) for m in report.maps} == set(product(digits_run.methods, digits_run.units))
    found = {(m.method, m.unit): m for m in report.maps}
    best, worst = found["two-sided", UnitKind.HEAD], found["random", UnitKind.HEAD]
    loaded = load(Catalog(TEST_DATA).folder(digits_run.model))
    job = Scoring(loaded, load_task("digits"), [load_method("two-sided")], [UnitKind.HEAD], 256)
    halves = (half.scores[UnitKind.HEAD].reshape(-1) for half in job.half_maps(accumulate(job))["two-sided"])
    assert best.halves == pytest.approx(spearmanr(*halves).statistic)
    assert worst.halves == pytest.approx(1)
    assert best.agreement.reliability > 0.5
    assert best.agreement.rho > worst.agreement.rho
    assert best.least.area > worst.least.area
    assert [point.units for point in best.most.points] == [1]
    assert best.efficiency is None
    gap = found["path-shapley,points=2", UnitKind.HEAD].efficiency
    assert gap.gap == pytest.approx((gap.scores - gap.measured) / abs(gap.measured))
    sums = api.importance_map(digits_run.id, "path-shapley,points=2", "head").scores
    assert gap.scores == pytest.approx(np.array(sums, float).sum())
    assert {curve.unit for curve in report.random} == set(digits_run.units)


def test_the_verdicts_are_those_of_the_library(api: Client, digits_run: Run) -> None:
    report = api.checked(digits_run.id)
    for entry in report.maps:
        assert entry.verdict == verdict(report, entry.method, entry.unit)
    heads = {entry.method: entry.verdict for entry in report.maps if entry.unit is UnitKind.HEAD}
    assert heads["two-sided"].mark is not Mark.UNCHECKED
    assert heads["two-sided"].findings
    assert heads["two-sided"].sentence != heads["random"].sentence


def test_a_point_of_a_curve_is_the_trial_of_the_same_units(api: Client, digits_run: Run) -> None:
    report = api.checked(digits_run.id)
    curve = next(m for m in report.maps if (m.method, m.unit) == ("two-sided", "head")).least
    point = curve.points[-1]
    request = TrialRequest(run=digits_run.id, method="two-sided", unit="head", which="least", fraction=point.fraction)
    trial = api.measure(request)
    assert sum(trial.counts.values()) == point.units
    # The quick plan looks at the first of the trial's examples; events hold the trial after each chunk.
    chunks = [event.data for event in api.trial_events(trial.id) if event.data.n]
    near = min(chunks, key=lambda t: abs(t.n - point.n))
    assert abs(near.accuracy - point.accuracy) < 0.15
    assert curve.points[0].n == point.n == 48


def test_none_is_possible_and_what_is_not_done_is_said(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(RunRequest(model="demo:digits-vit", task="digits", units=["head"], faithfulness="none"))
        assert run.faithfulness == "none"
        assert run.checks is None
        with pytest.raises(ApiError, match="its maps can be checked once it is done"):
            api.faithfulness(run.id)
        with pytest.raises(ApiError, match="There is no run"):
            api.faithfulness("nothing")


def test_only_halves_without_a_check(api: Client) -> None:
    request = RunRequest(model="demo:digits-vit", task="digits", units=["head"], limit=32, faithfulness="none")
    run = api.wait(api.submit_run(request).id)
    report = api.faithfulness(run.id)
    assert report.status is Status.DONE
    assert report.maps[0].halves is not None
    assert report.maps[0].least is None
    unchecked = report.maps[0].verdict
    assert (unchecked.mark, unchecked.findings) == (Mark.UNCHECKED, [])
    assert "is not checked. Two halves of the probe set agree" in unchecked.sentence
    one = api.wait(api.submit_run(request.model_copy(update={"limit": 1})).id)
    assert api.faithfulness(one.id).maps[0].halves is None


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_check_gives_way_to_a_trial_and_goes_on_afterwards(api: Client, server: Server) -> None:
    """On a language model a check takes long: the trial does not wait for it."""
    model = put_short_model(server.data)
    changes = {
        "model": model,
        "units": [UnitKind.LAYER],
        "methods": ["mean-abs"],
        "seed": 11,
        "limit": 8,
        "faithfulness": "quick",
    }
    request = CAPITALS_RUN.model_copy(update=changes)
    run = api.wait(api.submit_run(request).id)
    while api.faithfulness(run.id).status is Status.QUEUED:
        time.sleep(0.05)
    trial = api.measure(TrialRequest(run=run.id, off=Off(layer=[3])))
    assert trial.status is Status.DONE
    assert not api.faithfulness(run.id).status.ended
    report = api.checked(run.id)
    assert report.status is Status.DONE
    assert report.maps[0].least is not None
    assert report.maps[0].harm is None


@pytest.mark.slow  # a whole check; tests/e2e/test_trust.py has the quick one
def test_a_run_that_was_not_checked_can_be_checked_later_and_more_thoroughly_after_that(api: Client) -> None:
    request = RunRequest(
        model="demo:digits-vit", task="digits", units=["head"], methods=["mean-abs"], seed=5, faithfulness="none"
    )
    run = api.wait(api.submit_run(request).id)
    halves = api.faithfulness(run.id).maps[0].halves
    asked = api.check_maps(run.id)
    assert (asked.effort, asked.status, asked.progress.total) == ("quick", Status.QUEUED, 2)
    with pytest.raises(ApiError, match="are being checked already") as refused:
        api.check_maps(run.id, "full")
    assert refused.value.problem.status == 409
    quick = api.checked(run.id)
    assert (quick.status, quick.progress.done) == (Status.DONE, 2)
    assert quick.maps[0].halves == halves
    assert [point.fraction for point in quick.maps[0].least.points] == [0.2, 0.4]
    with pytest.raises(ApiError, match="already have a quick check; request 'full'"):
        api.check_maps(run.id, "quick")
    assert api.check_maps(run.id, "full").maps[0].least is None
    full = api.checked(run.id)
    assert (full.effort, full.status) == ("full", Status.DONE)
    assert len(full.maps[0].least.points) == 8
    assert full.maps[0].halves == halves
    assert full.random[0].draws == 5
    for effort in ("quick", "full"):
        with pytest.raises(ApiError, match="already have a full check"):
            api.check_maps(run.id, effort)


def test_a_check_can_be_asked_for_only_of_a_finished_run(start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    with Client(server.url) as api:
        run = api.submit_run(RunRequest(model="demo:digits-vit", task="digits"))
        with pytest.raises(ApiError, match="can be checked once it is done") as refused:
            api.check_maps(run.id)
        assert refused.value.problem.status == 409
        with pytest.raises(ApiError, match="There is no run") as unknown:
            api.check_maps("nothing")
        assert unknown.value.problem.status == 404


def test_a_failed_check_is_tried_again_from_where_it_got(start_server: StartServer) -> None:
    """The report lies in the data directory: one half of it is lost, and its check is said to have failed."""
    server = start_server()
    with Client(server.url) as api:
        request = RunRequest(model="demo:digits-vit", task="digits", units=["head"], methods=["two-sided", "random"])
        run = api.wait(api.submit_run(request).id)
        before = api.checked(run.id)
        records = Records(f"sqlite:///{server.data / 'records.sqlite'}")
        storage = Storage(str(server.data))
        kept = before.maps[0]
        lost = before.model_copy(
            update={"maps": [kept, before.maps[1].model_copy(update={"agreement": None})], "error": "out of luck"}
        )
        storage.save_report(lost)
        records.update_run(run.id, of=(Status.DONE,), checks=Status.FAILED)
        assert api.faithfulness(run.id).error == "out of luck"
        assert api.check_maps(run.id).error is None
        after = api.checked(run.id)
        assert (after.status, after.error) == (Status.DONE, None)
        assert after.maps[0] == kept
        assert after.maps[1].agreement is not None
        # A run from before there were reports: no file, and nothing in the records.
        (server.data / "runs" / run.id / "faithfulness.json").unlink()
        records.update_run(run.id, of=(Status.DONE,), checks=None, faithfulness="none")
        with pytest.raises(ApiError, match="has no faithfulness report"):
            api.faithfulness(run.id)
        api.check_maps(run.id)
        anew = api.checked(run.id)
        assert (anew.status, anew.maps[0].halves) == (Status.DONE, None)
        assert anew.maps[0].least == kept.least
        records.close()
