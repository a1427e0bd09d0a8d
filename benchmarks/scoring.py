r"""Cost of scoring, compared with the backward pass that it needs, and with the paper's own computation.

    python -m benchmarks.scoring --json
    python -m benchmarks.scoring --json --device cuda --dtype bfloat16 --hidden 3584 --mlp 18944 --heads 28 \
        --kv-heads 4 --layers 2

A random Qwen2-shaped model on random tokens, one batch. Medians, taken in turns within one run:
`floor_s`: forward and activation-only backward with nothing kept; `scoring_s`: all neurons, heads and layers with
standard errors, by the default method; `all_methods_s`: the same by every method of at most one pass; `forward_s`;
`full_backward_s`: forward and backward with weight gradients; `per_weight_s`: the formula of the paper's code,
from the batch-mean gradient of each weight matrix, multiplied from left to right as it is written there; in
`per_weight_cheapest_s` multiplied in the order of fewer operations. Both are written here independently.
`overhead` = scoring_s / floor_s; `speedup` = per_weight_s / scoring_s. `peak_mb`: tensors that scoring holds at
most besides the loaded model, `floor_peak_mb` those of the floor, `peak_ratio` of the two.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.support.common import report
from benchmarks.support.random_models import NextToken, Shape, random_qwen2, random_tokens
from modelshapley.methods import METHODS, load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.accumulator import ScoreAccumulator
from modelshapley.scoring.job import Scoring
from modelshapley.tasks.base import Split
from modelshapley.units import UnitKind

KINDS = (UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER)
DEFAULT = "two-sided"


class Bench:
    """The model, with one function for each measured computation."""

    def __init__(self, loaded: LoadedModel, tokens: Tensor) -> None:
        self.loaded, self.task = loaded, NextToken(tokens)

    def losses(self) -> Tensor:
        return self.task.losses(self.loaded, self.task.examples(Split.PROBE))

    def forward(self) -> None:
        with torch.inference_mode():
            self.losses()

    def floor(self) -> None:
        block = self.loaded.model.get_submodule(self.loaded.anatomy.layers[0].block)
        handle = block.register_forward_pre_hook(lambda _, args: (args[0].detach().requires_grad_(True), *args[1:]))
        self.losses().sum().backward()
        handle.remove()

    def scoring(self, methods: Sequence[str] = (DEFAULT,)) -> None:
        scoring = Scoring(self.loaded, self.task, [load_method(m) for m in methods], KINDS, limit=self.task.probe_batch)
        sums = ScoreAccumulator(scoring.plan())
        for _ in scoring.steps(sums):
            pass
        scoring.maps(sums)

    def all_methods(self) -> None:
        self.scoring([method for method, info in METHODS.items() if info.passes <= 1 and not info.largest])

    def full_backward(self) -> None:
        self.loaded.model.requires_grad_(True)
        self.losses().mean().backward()
        self.loaded.model.zero_grad(set_to_none=True)
        self.loaded.model.requires_grad_(False)

    def per_weight(self, product: Callable[[Tensor, Tensor], Tensor] = lambda g, theta: g @ g.T @ theta) -> None:
        """|-(row sums of G * theta) - 1/2 row sums of theta * (G G^T theta)| for each matrix of each block."""
        matrices = [
            module.weight
            for layer in self.loaded.anatomy.layers
            for module in self.loaded.model.get_submodule(layer.block).modules()
            if isinstance(module, nn.Linear)
        ]
        for theta in matrices:
            theta.requires_grad_(True)
        self.losses().mean().backward()
        with torch.no_grad():
            for theta in matrices:
                gradient = theta.grad
                assert gradient is not None
                individual = (gradient * theta).sum(1)
                cooperative = (theta * product(gradient, theta)).sum(1)
                (-individual - 0.5 * cooperative).abs()
                theta.grad = None
        for theta in matrices:
            theta.requires_grad_(False)

    def per_weight_cheapest(self) -> None:
        """Compute the same, multiplied in the order with fewer operations."""
        self.per_weight(lambda g, theta: g @ g.T @ theta if len(g) < len(g.T) else g @ (g.T @ theta))

    def seconds(self, work: Callable[[], None]) -> float:
        started = time.perf_counter()
        work()
        if self.loaded.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def peak_mb(self, work: Callable[[], None]) -> float:
        """Measure the peak memory of tensors besides the loaded model.

        It counts allocations, not resident memory, which depends on when the C library returns memory.
        """
        if self.loaded.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            work()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profile:
            work()
        events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        live = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
        peak: int = max(live)
        return peak / 2**20


MEASURED: dict[str, Callable[[Bench], Callable[[], None]]] = {
    "forward_s": lambda bench: bench.forward,
    "floor_s": lambda bench: bench.floor,
    "scoring_s": lambda bench: bench.scoring,
    "all_methods_s": lambda bench: bench.all_methods,
    "full_backward_s": lambda bench: bench.full_backward,
    "per_weight_s": lambda bench: bench.per_weight,
    "per_weight_cheapest_s": lambda bench: bench.per_weight_cheapest,
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    shape = Shape(
        options.layers, options.hidden, options.mlp, options.heads, options.kv_heads, positions=options.tokens
    )
    loaded = random_qwen2(shape, options.device, options.dtype)
    bench = Bench(loaded, random_tokens(loaded, options.sequences, options.tokens))
    times: dict[str, list[float]] = {name: [] for name in MEASURED}
    for round_ in range(options.rounds + 1):
        for name, computation in MEASURED.items():
            seconds = bench.seconds(computation(bench))
            if round_:  # the first round warms up
                times[name].append(seconds)
    results: dict[str, Any] = {name: round(statistics.median(values), 4) for name, values in times.items()}
    results["overhead"] = round(results["scoring_s"] / results["floor_s"], 3)
    results["speedup"] = round(results["per_weight_s"] / results["scoring_s"], 2)
    results["speedup_cheapest"] = round(results["per_weight_cheapest_s"] / results["scoring_s"], 2)
    results["peak_mb"], results["floor_peak_mb"] = (
        round(bench.peak_mb(computation)) for computation in (bench.scoring, bench.floor)
    )
    results["peak_ratio"] = round(results["peak_mb"] / results["floor_peak_mb"], 3)
    # Ratios within each round, because the load of the machine varies between rounds.
    overheads = sorted(a / b for a, b in zip(times["scoring_s"], times["floor_s"], strict=True))
    results["overhead_rounds"] = [round(ratio, 3) for ratio in overheads]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--mlp", type=int, default=4864)
    parser.add_argument("--heads", type=int, default=14)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    results = measure(options)
    shape = {name: getattr(options, name) for name in ("layers", "hidden", "mlp", "heads", "sequences", "tokens")}
    report(results | {"device": options.device, "dtype": options.dtype} | shape)


if __name__ == "__main__":
    main()
