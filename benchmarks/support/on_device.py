"""What benchmarks/gpu.py measures of one model on a device: scoring, trials, writing, equality with the CPU."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.scoring import DEFAULT, KINDS, MEASURED, Bench
from benchmarks.support.random_models import NextToken, Shape, random_qwen2, random_tokens
from benchmarks.support.writing import both_generated, written
from modelshapley.evaluation.hidden_states import HiddenStateCache, refusal
from modelshapley.evaluation.trials import all_answers
from modelshapley.interventions.verify import verify
from modelshapley.maps.importance import ImportanceMap
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prove import prove_shortcuts
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind

SCORED = ("forward_s", "floor_s", "scoring_s", "per_weight_s", "per_weight_cheapest_s")
SPEEDUPS = {"speedup": "per_weight_s", "speedup_cheapest": "per_weight_cheapest_s"}
BOUNDS = {"float32": {"difference": 1e-3, "correlation": 0.9999}, "bfloat16": {"correlation": 0.98}}
"""difference: largest one, relative to the largest score of the kind. correlation: Pearson's, of each kind."""


@dataclass(frozen=True)
class Sizes:
    """Models and inputs. budget: bytes of host memory for kept states."""

    shapes: dict[str, Shape]
    sequences: int
    tokens: int
    trial_sequences: int
    prompt: int
    new_tokens: int
    budget: int


class Clock:
    """What is left of the time for the whole benchmark."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()


def seconds_of(loaded: LoadedModel, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall time of work on the device, and what it returns."""
    synchronise(loaded)
    started = time.perf_counter()
    result = work()
    synchronise(loaded)
    return time.perf_counter() - started, result


def synchronise(loaded: LoadedModel) -> None:
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()


def measure_scoring(loaded: LoadedModel, sizes: Sizes, rounds: int, clock: Clock) -> dict[str, Any]:
    bench = Bench(loaded, random_tokens(loaded, sizes.sequences, sizes.tokens))
    times: dict[str, list[float]] = {name: [] for name in SCORED}
    no_memory: dict[str, str] = {}
    until = clock.left() / 3
    for round_ in range(rounds + 1):
        if round_ > 2 and clock.left() < 2 * until:
            break
        for name in SCORED:
            if name in no_memory:
                continue
            try:
                times[name].append(bench.seconds(MEASURED[name](bench)))
            except torch.OutOfMemoryError as error:
                no_memory[name] = str(error).splitlines()[0]
                free_gradients(loaded)
    medians = {name: statistics.median(values[1:]) for name, values in times.items() if len(values) > 1}
    peaks = {"peak_mb": bench.peak_mb(bench.scoring), "floor_peak_mb": bench.peak_mb(bench.floor)}
    return {
        **{name: round(value, 4) for name, value in medians.items()},
        "rounds": len(times["scoring_s"]) - 1,
        "overhead": round(medians["scoring_s"] / medians["floor_s"], 3),
        **{name: round(medians[per] / medians["scoring_s"], 2) for name, per in SPEEDUPS.items() if per in medians},
        **{name: round(value) for name, value in peaks.items()},
        "peak_ratio": round(peaks["peak_mb"] / peaks["floor_peak_mb"], 3),
        "tokens_per_s": round(sizes.sequences * sizes.tokens / medians["scoring_s"]),
        **({"out_of_memory": no_memory} if no_memory else {}),
    }


def free_gradients(loaded: LoadedModel) -> None:
    """Drop what a computation without enough memory left behind."""
    loaded.model.requires_grad_(False)
    loaded.model.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()


def measure_trials(loaded: LoadedModel, sizes: Sizes, rounds: int) -> dict[str, Any]:
    task = NextToken(random_tokens(loaded, sizes.trial_sequences, sizes.tokens))
    task.test_chunk = sizes.sequences
    examples = task.select(loaded, Split.TEST)
    states = HiddenStateCache(len(examples), sizes.budget, refusal(loaded, task, examples))
    intact_s, intact = seconds_of(loaded, lambda: all_answers(loaded, task, Deactivation(), states=states))
    layers = loaded.anatomy.shapes.layers
    results: dict[str, Any] = {"intact_s": round(intact_s, 4), "kept_mb": round(states.bytes / 2**20)}
    differences, effects = [], []
    for layer in sorted({layers // 4, layers // 2, 3 * layers // 4, layers - 1}):
        times: dict[str, list[float]] = {"plain_s": [], "host_s": [], "device_s": []}
        trial = partial(all_answers, loaded, task, Deactivation.of({UnitKind.HEAD: [(layer, 0)]}))
        for _ in range(rounds + 1):
            plain_s, plain = seconds_of(loaded, trial)
            times["plain_s"].append(plain_s)
            effects.append(float(np.abs(plain - intact).max()))
            loaded.device_tier.clear()
            for tier in ("host_s", "device_s"):  # the first reading leaves a copy, the second finds it
                kept_s, kept = seconds_of(loaded, partial(trial, states=states))
                times[tier].append(kept_s)
                differences.append(float(np.abs(plain - kept).max()))
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        speedups = {tier: round(medians["plain_s"] / medians[f"{tier}_s"], 2) for tier in ("host", "device")}
        on_device = {"copies_mb": round(loaded.device_tier.bytes / 2**20)}
        results[f"layer_{layer}"] = {**{n: round(v, 4) for n, v in medians.items()}, "speedup": speedups} | on_device
    return results | {
        "max_difference": max(differences),
        "min_effect": min(effects),
        "refused": states.refused,
    }


def measure_writing(loaded: LoadedModel, sizes: Sizes, rounds: int) -> dict[str, Any]:
    proven = replace(loaded, shortcuts=prove_shortcuts(loaded))
    prompt = random_tokens(loaded, 1, sizes.prompt)[0].tolist()
    off = Deactivation.of({UnitKind.HEAD: [(layer, 0) for layer in range(0, loaded.anatomy.shapes.layers, 3)]})
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    texts: dict[str, list[list[int]]] = {}
    for _ in range(rounds + 1):
        for name, write in (("ours", written), ("theirs", both_generated)):
            took, texts[name] = seconds_of(loaded, partial(write, proven, prompt, sizes.new_tokens, off))
            rates[name].append(sum(map(len, texts[name])) / took)
    ours, theirs = (statistics.median(rates[name][1:]) for name in ("ours", "theirs"))
    agreed = [agreeing(*pair) for pair in zip(texts["ours"], texts["theirs"], strict=True)]
    return {
        "tokens_per_s": round(ours, 1),
        "generate_tokens_per_s": round(theirs, 1),
        "ratio": round(ours / theirs, 3),
        "equal_tokens": round(sum(agreed) / sum(map(len, texts["theirs"])), 3),
        "shortcuts": proven.notes or "all proven",
    }


def agreeing(one: list[int], other: list[int]) -> int:
    """Return the number of tokens before the first that differs."""
    pairs = list(zip(one, other, strict=False))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))


def measure_equality(shape: Shape, device: str) -> dict[str, Any]:
    """Score two layers on the device, in float32 and bfloat16, and on the CPU in float32."""
    reference = random_qwen2(replace(shape, layers=2, vocab=512), "cpu", "float32")
    task = NextToken(random_tokens(reference, 4, 32))
    wanted, results = map_of(reference, task), {}
    for dtype, bounds in BOUNDS.items():
        model = copy.deepcopy(reference.model).to(device, getattr(torch, dtype))
        loaded = replace(reference, model=model, device=torch.device(device))
        verify(loaded.model, loaded.anatomy)
        found = agreement(wanted, map_of(loaded, NextToken(task.sequences.to(device))))
        kept = [one["correlation"] >= bounds["correlation"] for one in found.values()]
        kept += [one["difference"] <= bounds.get("difference", np.inf) for one in found.values()]
        results[dtype] = {"within_bounds": all(kept), **found}
    return results


def map_of(loaded: LoadedModel, task: NextToken) -> ImportanceMap:
    return score(Scoring(loaded, task, [load_method(DEFAULT)], KINDS, limit=len(task.sequences)))[DEFAULT]


def agreement(wanted: ImportanceMap, found: ImportanceMap) -> dict[str, dict[str, float]]:
    """Return the largest difference, relative to the largest score, and Pearson's correlation of each kind."""
    results = {}
    for kind in KINDS:
        a, b = wanted.scores[kind].ravel(), found.scores[kind].ravel()
        difference = float(np.abs(a - b).max() / np.abs(a).max())
        results[kind.value] = {"difference": difference, "correlation": float(np.corrcoef(a, b)[0, 1])}
    return results
