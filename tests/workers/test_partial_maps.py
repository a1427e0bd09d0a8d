"""The map of a run so far: that of the examples which are summed, and only while somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from redis import Redis

from backend.queue.watched_runs import WatchedRuns
from backend.store.files import Storage
from modelshapley import load_task
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring
from modelshapley.units import UnitKind
from tests.support.in_process import redis_running
from workers.partial_maps import PartialMaps

METHODS = ("two-sided", "mean-abs", "random")
RUN = "0123456789ab"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_running(tmp_path_factory.mktemp("redis")) as url:
        redis = Redis.from_url(url)
        yield redis
        redis.close()


@pytest.fixture
def context(redis: Redis, tmp_path: Path) -> Any:
    redis.flushdb()
    return SimpleNamespace(storage=Storage(str(tmp_path)), watched=WatchedRuns(redis))


@pytest.fixture
def scoring(digits_vit: LoadedModel) -> Scoring:
    kinds = [UnitKind.HEAD, UnitKind.NEURON]
    return Scoring(digits_vit, load_task("digits"), [load_method(m) for m in METHODS], kinds, 128, 0)


def run(shards: int = 1) -> Any:
    return SimpleNamespace(id=RUN, shards=shards)


def summed(scoring: Scoring, part: range, batches: int | None = None) -> ScoreAccumulator:
    sums = ScoreAccumulator(scoring.plan())
    list(islice(scoring.steps(sums, part), batches))
    return sums


def assert_same(here: ImportanceMap | None, there: ImportanceMap) -> None:
    assert here is not None
    for kind, scores in there.scores.items():
        np.testing.assert_allclose(here.scores[kind], scores, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(here.standard_errors[kind], there.standard_errors[kind], rtol=1e-5, atol=1e-9)


def test_it_is_the_map_of_the_examples_so_far(context: Any, scoring: Scoring) -> None:
    context.watched.watch(RUN)
    sums = summed(scoring, range(128), batches=2)
    PartialMaps(context, run(), scoring).offer(1, sums)
    fewer = scoring.maps(summed(scoring, range(sums.done)))
    for method in METHODS:
        partial = context.storage.load_partial(RUN, method)
        assert_same(partial, fewer[method])
        assert (partial.provenance["n"], partial.provenance["partial_of"]) == (64, 128)
    assert not np.allclose(
        fewer["two-sided"].scores[UnitKind.HEAD],
        scoring.maps(summed(scoring, range(128)))["two-sided"].scores[UnitKind.HEAD],
    ), "the whole map differs, so the comparison above says something"


def test_checkpoints_of_other_shards_count(context: Any, scoring: Scoring) -> None:
    context.watched.watch(RUN)
    first, second = (summed(scoring, scoring.shard(number, 2)) for number in (1, 2))
    context.storage.save_sums(RUN, 2, second.to_bytes())
    PartialMaps(context, run(shards=2), scoring).offer(1, first)
    assert_same(context.storage.load_partial(RUN, "mean-abs"), scoring.maps(summed(scoring, range(128)))["mean-abs"])


def test_nothing_is_computed_unless_somebody_watches_and_not_again_at_once(context: Any, scoring: Scoring) -> None:
    sums = summed(scoring, range(128), batches=1)
    maps = PartialMaps(context, run(), scoring)
    maps.offer(1, sums)
    assert context.storage.load_partial(RUN, "mean-abs") is None
    context.watched.watch(RUN)
    maps.offer(1, sums)
    assert context.storage.load_partial(RUN, "mean-abs").provenance["n"] == 32
    maps.offer(1, summed(scoring, range(128), batches=2))
    assert context.storage.load_partial(RUN, "mean-abs").provenance["n"] == 32
    context.storage.drop_sums(RUN)
    assert context.storage.load_partial(RUN, "mean-abs") is None
