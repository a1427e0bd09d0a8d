"""A trial may stop after any chunk, so that the first test examples must be a fair sample of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from modelshapley import load_task
from modelshapley.tasks.base import Split
from tests.support.task_data import ASK, asked, jsonl, model, task, tokenizer
from tests.support.toys import CONFIGS

SEEDS = range(20)


def check_fair(orders: Sequence[Sequence[str | None]]) -> None:
    """Each class comes first as often as it should, over all the seeds' orders, in prefixes of several lengths.

    Within five standard deviations of drawing without replacement.
    """
    whole = Counter(orders[0])
    total = len(orders[0])
    assert all(Counter(order) == whole for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders), "the seed draws the order"
    for n in (total // 10, total // 4, total // 2):
        firsts = [Counter(order[:n]) for order in orders]
        for label, count in whole.items():
            share = count / total
            spread = np.sqrt(n * share * (1 - share) * (total - n) / (total - 1))
            mean = np.mean([first[label] for first in firsts])
            assert abs(mean - n * share) <= 5 * spread / np.sqrt(len(orders)), (label, n)
            assert max(abs(first[label] - n * share) for first in firsts) <= 5 * spread, (label, n)


@pytest.mark.parametrize("name", ["digits", "world-capitals"])
def test_tasks_made_by_code(name: str) -> None:
    made = load_task(name)
    if name == "digits":
        check_fair([[made.class_of(e) for e in made.examples(Split.TEST, seed)] for seed in SEEDS])
        return
    # Which countries are tested is drawn, too: the halves of each seed's own are compared.
    for seed in SEEDS:
        drawn = [made.class_of(e) for e in made.examples(Split.TEST, seed)]
        front, back = Counter(drawn[: len(drawn) // 2]), Counter(drawn[len(drawn) // 2 :])
        for label, count in Counter(drawn).items():
            assert abs(front[label] - back[label]) <= 5 * np.sqrt(count), (seed, label)
    assert len({made.examples(Split.TEST, seed)[0].country for seed in SEEDS}) > 10


@pytest.mark.parametrize("shared", [False, True], ids=["own split", "one split for both"])
@pytest.mark.parametrize("drawn_by", [None, 5], ids=["run's seed", "task's seed"])
def test_tasks_from_data_that_lie_there_sorted(tmp_path: Path, shared: bool, drawn_by: int | None) -> None:
    kinds = ["first"] * 200 + ["second"] * 100 + ["third"] * 100
    rows = [row | {"kind": kind} for row, kind in zip(asked(400), kinds, strict=True)]
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", rows)
    parts = {"probe": {"split": "test", "share": 0.25}, "test": {"split": "test", "share": 0.75}} if shared else {}
    made = task(tmp_path, ASK, classes="kind", seed=drawn_by, **parts)
    check_fair([[e.label for e in made.examples(Split.TEST, seed)] for seed in SEEDS])


def test_windows_of_texts(tmp_path: Path) -> None:
    """Windows of one text lie side by side in the data, and not among the examples."""
    loaded = model(CONFIGS["gpt2"], tokenizer())
    rows = [{"text": f"{letter} " * 100, "kind": letter} for letter in "abcd"]
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", rows)
    made = task(
        tmp_path, {"kind": "language-modelling", "source": {"path": "."}}, text="text", window=8, classes="kind"
    )
    check_fair([[e.label for e in made.select(loaded, Split.TEST, seed)] for seed in SEEDS])
