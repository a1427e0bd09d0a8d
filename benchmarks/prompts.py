"""Prompts by hand: equal to transformers' `generate`, as fast, and how soon their first tokens come.

    python -m benchmarks.prompts --json

On SmolLM2. `equal` = for deactivations of every kind of unit, switched off and halved, both columns are token for token
what `generate` writes with the intact and with the scaled weights, with and without the chat template. `tokens_per_s` =
tokens of both columns, written in turns by `Writing`, a second; `generate_tokens_per_s` = the same texts by two calls
of `generate`, one with zeroed weights; both with greedy choice and a cache, timed in turns, medians; `ratio` = ours by
theirs.

`first_token_ms`: through the real API, Redis and one worker, from the request to the event with the first token of both
columns: on an idle service, beside the full check of another run of the same model (`beside_check`), and beside one of
the digits ViT (`beside_check_of_other_model`), by the same worker.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.common import DATA, report
from benchmarks.support.live_service import service, spread
from benchmarks.support.writing import both_generated, written
from modelshapley.client import Client
from modelshapley.contracts import Off, Run, RunRequest, Status
from modelshapley.contracts.prompts import PromptRequest, PromptSettings, PromptStep
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.prompts.reading import read_prompt
from modelshapley.units import Deactivation, Treatment, Unit, UnitKind

UNITS: dict[UnitKind, list[Unit]] = {
    UnitKind.HEAD: [(layer, head) for layer in range(0, 30, 3) for head in (1, 5)],
    UnitKind.NEURON: [(layer, place) for layer in range(2, 30, 4) for place in range(0, 1536, 9)],
    UnitKind.LAYER: [(11,), (20,)],
    UnitKind.ROW: [(layer, row) for layer in range(3, 30, 6) for row in range(0, 900, 11)],
}
PROMPTS = ("The capital of France is", "Write a short story about a fox.")
OFF = Off(head=[(layer, 4) for layer in range(0, 30, 3)])
TOKENS, ROUNDS = 64, 5
RUN = RunRequest(model=SMOLLM2, task="world-capitals", methods=["two-sided"], faithfulness="none")
OTHER_RUN = RunRequest(model=DIGITS_VIT, task="digits", methods=["two-sided", "random"], faithfulness="none")


def measure_equality(loaded: LoadedModel, tokens: int = 24) -> dict[str, Any]:
    cases = [({kind: units}, factor) for kind, units in UNITS.items() for factor in (0.0, 0.5)]
    cases.append((UNITS, 0.0))
    equal = total = 0
    for chat in ("no", "yes"):
        prompt = read_prompt(loaded, PROMPTS[0], PromptSettings(chat=chat)).tokens
        for units, factor in cases:
            if UnitKind.LAYER in units and factor:
                continue  # scaled weights of a layer are no reference where a norm follows
            off = Deactivation.of(units, Treatment("scale", factor))
            total += 1
            equal += written(loaded, prompt, tokens, off) == both_generated(loaded, prompt, tokens, off)
    return {"equal": equal == total, "equal_texts": equal, "texts": total}


def measure_speed(loaded: LoadedModel) -> dict[str, Any]:
    off = OFF.deactivation()
    prompt = read_prompt(loaded, PROMPTS[1], PromptSettings(chat="no")).tokens
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS + 1):  # the first is a warm-up
        for name, write in (("ours", written), ("theirs", both_generated)):
            started = time.perf_counter()
            count = sum(map(len, write(loaded, prompt, TOKENS, off)))
            rates[name].append(count / (time.perf_counter() - started))
    ours, theirs = (statistics.median(rates[name][1:]) for name in ("ours", "theirs"))
    return {"tokens_per_s": round(ours, 2), "generate_tokens_per_s": round(theirs, 2), "ratio": round(ours / theirs, 3)}


def first_token_ms(api: Client, request: PromptRequest) -> float:
    sent = time.perf_counter()
    prompt = api.submit_prompt(request)
    at = None
    for event in api.prompt_events(prompt.id):
        if at is None and isinstance(event.data, PromptStep) and event.data.intact and event.data.changed:
            at = 1000 * (time.perf_counter() - sent)
    if at is None:
        raise RuntimeError("a prompt ended without a token")
    return at


@contextmanager
def being_checked(api: Client, run: Run) -> Iterator[None]:
    """Have the maps of a run checked thoroughly while the block runs."""
    api.check_maps(run.id, "full")
    while api.faithfulness(run.id).status is Status.QUEUED:
        time.sleep(0.1)
    time.sleep(1)
    yield
    if api.faithfulness(run.id).status is not Status.RUNNING:
        raise RuntimeError("the check ended before the last prompt")
    api.cancel_check(run.id)


def measure_first_tokens(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "demo").symlink_to((DATA / "demo").resolve())
        with service(Path(folder)) as (url, _), Client(url) as api:
            run, other = (api.wait(api.submit_run(request).id) for request in (RUN, OTHER_RUN))
            rng = random.Random(0)

            def measured() -> dict[str, float]:
                times = []
                for number in range(count):
                    time.sleep(rng.random() / 2)  # at any moment of a pass
                    text = f"{number}. {PROMPTS[number % len(PROMPTS)]}"
                    times.append(first_token_ms(api, PromptRequest(run=run.id, prompt=text, off=OFF, max_new_tokens=4)))
                return spread(times)

            first_token_ms(api, PromptRequest(run=run.id, prompt=PROMPTS[0], off=OFF, max_new_tokens=1))
            results = {"idle": measured()}
            with being_checked(api, run):
                results["beside_check"] = measured()
            with being_checked(api, other):
                results["beside_check_of_other_model"] = measured()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--prompts", type=int, default=40, help="prompts of each measurement of first tokens")
    parser.add_argument("--only", choices=["equal", "speed", "service"], help="default: all")
    options = parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    results: dict[str, Any] = {}
    if options.only in (None, "service"):
        results["first_token_ms"] = measure_first_tokens(options.prompts)
    if options.only in (None, "equal", "speed"):
        loaded = load(catalog.folder(SMOLLM2))
        if options.only != "speed":
            results |= measure_equality(loaded)
        if options.only != "equal":
            results |= measure_speed(loaded)
    report(results)


if __name__ == "__main__":
    main()
