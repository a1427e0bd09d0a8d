r"""Speed, memory and equality on a GPU, where nothing but torch and transformers is installed.

    python -m benchmarks.gpu --json
    python -m benchmarks.gpu --json --device cpu      # toy sizes, to see that everything runs

in a checkout, or in a folder that holds only its folders `modelshapley` and `benchmarks`.

It takes at most 8 minutes (`--minutes`): parts that no time is left for are named in `skipped`. Each part prints its
own line as soon as it is measured, so that a run that is cut off is not lost; the last line holds all of them. A part
that fails says why in `error`, and the others go on.

Models have the shapes of Qwen2.5-3B and Qwen2.5-7B and random weights in bfloat16, made on the device; inputs are
random tokens. `scoring`: neurons, heads and layers by the default method against the activation-only floor
(`overhead`, `peak_ratio`) and the per-weight formula (`speedup`), as in benchmarks/scoring.py. `trials`: one head off
at four depths, as plain passes, from states in host memory (`host_s`) and from their copies on the device (`device_s`;
on a CPU there are none, and both are the same); `max_difference` of what they give, `intact_s` of the pass that stores
the states. `writing`: two answers to one prompt, and by `generate` with zeroed weights; `equal_tokens`: share of
tokens before the first that differs, where rounding may break a tie in bfloat16. `equality`: maps of two layers of each
width on the device against float32 on the CPU; `within_bounds` says whether they keep BOUNDS. `cuda_tests`: the
tests that need a GPU, if pytest is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.support.common import report
from benchmarks.support.on_device import (
    Clock,
    Sizes,
    measure_equality,
    measure_scoring,
    measure_trials,
    measure_writing,
)
from benchmarks.support.random_models import Shape, random_qwen2
from modelshapley.models.loaded import LoadedModel

ROOT = Path(__file__).parents[1]
CUDA_TESTS = ["tests/models/test_devices.py"]

GPU = Sizes(
    {
        "3b": Shape(36, 2048, 11008, 16, 2, vocab=151936, tied=True, positions=4096),
        "7b": Shape(28, 3584, 18944, 28, 4, vocab=152064, positions=4096),
    },
    sequences=8,
    tokens=512,
    trial_sequences=32,
    prompt=128,
    new_tokens=64,
    budget=8 * 2**30,
)
TOY = Sizes(
    {"toy": Shape(4, 64, 96, 4, 2, vocab=512, positions=256)},
    sequences=4,
    tokens=32,
    trial_sequences=8,
    prompt=16,
    new_tokens=8,
    budget=2**26,
)


def run_cuda_tests(clock: Clock) -> dict[str, Any]:
    """Run the tests that need a GPU, without the settings of this project, whose plugins may not be installed."""
    if not torch.cuda.is_available():
        return {"not_run": "there is no CUDA device"}
    if find_spec("pytest") is None or not (ROOT / "tests").is_dir():
        return {"not_run": "pytest is not installed, or the tests are not there"}
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(ROOT), "--noconftest"]
    answer = subprocess.run(
        [*command, "-k", "cuda or two_devices", *CUDA_TESTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=max(30, clock.left()),
    )
    return {"passed": answer.returncode == 0, "output": answer.stdout.splitlines()[-5:]}


@contextmanager
def model_on(shape: Shape, device: str) -> Iterator[LoadedModel]:
    """Yield a random model in bfloat16, and free its memory afterwards."""
    loaded = random_qwen2(shape, device, "bfloat16")
    try:
        yield loaded
    finally:
        loaded.model.to("meta")
        if device != "cpu":
            torch.cuda.empty_cache()


class Report:
    """Results of parts, each printed when it is there."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.results: dict[str, dict[str, Any]] = {}
        self.skipped: list[str] = []

    def part(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Measure a part, if there is time; an error becomes its result, so that the other parts are measured."""
        if self.clock.left() <= 0:
            self.skipped.append(name)
            return
        started = time.monotonic()
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # whatever a device brings up, the other parts are worth having
            result = {"error": f"{type(error).__name__}: {error}"[:500]}
        self.results[name] = result | {"took_s": round(time.monotonic() - started, 1)}
        print(json.dumps({name: self.results[name]}), flush=True)


def describe(device: str) -> dict[str, Any]:
    found: dict[str, Any] = {"device": device, "transformers": transformers.__version__}
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        found |= {"card": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
    return found


def run(device: str, sizes: Sizes, rounds: int, minutes: float) -> dict[str, Any]:
    clock = Clock(60 * minutes)
    parts = Report(clock)
    for name, shape in sizes.shapes.items():
        parts.part(f"equality_{name}", partial(measure_equality, shape, device))
    parts.part("cuda_tests", partial(run_cuda_tests, clock))
    for name, shape in sizes.shapes.items():
        if clock.left() <= 0:
            parts.skipped.append(name)
            continue
        with model_on(shape, device) as loaded:
            parts.part(f"scoring_{name}", partial(measure_scoring, loaded, sizes, rounds, clock))
            parts.part(f"trials_{name}", partial(measure_trials, loaded, sizes, rounds))
            parts.part(f"writing_{name}", partial(measure_writing, loaded, sizes, rounds))
    return {**parts.results, "skipped": parts.skipped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu: toy sizes")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--minutes", type=float, default=8)
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"there is no device {options.device!r} here; --device cpu runs everything at toy sizes")
    transformers.utils.logging.set_verbosity_error()
    sizes = TOY if options.device == "cpu" else GPU
    results = run(options.device, sizes, options.rounds, options.minutes)
    report(results | describe(options.device))


if __name__ == "__main__":
    main()
