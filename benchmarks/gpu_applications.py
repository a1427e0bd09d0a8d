r"""What training and quantising cost on a GPU, where nothing but torch and transformers is installed.

    python -m benchmarks.gpu_applications --json
    python -m benchmarks.gpu_applications --json --device cpu      # a toy, to see that everything runs

in a checkout, or in a folder that holds only its folders `modelshapley` and `benchmarks`.

The model has the shape of Qwen2.5-3B and random weights in bfloat16, made on the device; inputs are random tokens.
`training`: a step (forward, backward, AdamW) that trains 10 % of the neurons as sub-matrices (`targeted`), LoRA factors
of the same linear maps with about as many parameters (`lora`), LoRA of rank 8 on all linear maps of the blocks
(`lora_rank_8`), and all parameters (`full`); medians of alternating rounds. `ratio`: against `full`. `peak_mib`: most
memory of the device besides the weights, null on a CPU. `state_mib`: gradients and both moments of AdamW, in bfloat16
as the weights are. `gradient_max_relative`: between the sub-matrices' gradients and the same places of whole
gradients, relative to the largest. `bytes`: of the weights as they are; in FP8, a scale for each row; and in 4 bits,
rounded to the nearest value, a scale for each group of 128 (64 in the toy), packed as compressed-tensors does.
Embeddings and norms stay in bfloat16. `rounding_rms`: of the 4-bit weights, relative to the weights.

It takes at most 8 minutes (`--minutes`): what no time is left for is named in `skipped`. Each part prints its own line
when it is measured; the last line holds all of them. A part that fails says why in `error`, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from benchmarks.support.common import report
from benchmarks.support.random_models import Shape, random_qwen2, random_tokens
from modelshapley.applications.finetuning.lora import rank_for
from modelshapley.applications.finetuning.parts import parts_of
from modelshapley.applications.finetuning.submatrix import named, training, write_all
from modelshapley.interventions.forwards import Forward, replaced_forward
from modelshapley.units import Deactivation, UnitKind

SHARE, RANK, MIB = 0.1, 8, 2**20
ARMS = ("targeted", "lora", "lora_rank_8", "full")
Parameters = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Sizes:
    """Shape of the model, and of the batch. group: weights that share a scale in 4 bits."""

    shape: Shape
    sequences: int
    tokens: int
    group: int


GPU = Sizes(Shape(36, 2048, 11008, 16, 2, vocab=151936, tied=True, positions=4096), 4, 512, 128)
TOY = Sizes(Shape(3, 64, 128, 4, 2, vocab=512, tied=True), 2, 32, 64)


class Bench:
    """The random model on its device, 10 % of its neurons, and a batch of tokens."""

    def __init__(self, sizes: Sizes, device: str) -> None:
        loaded, shape = random_qwen2(sizes.shape, device, "bfloat16"), sizes.shape
        self.model: Any = loaded.model
        self.anatomy, self.sizes, self.device = loaded.anatomy, sizes, device
        count = int(SHARE * shape.mlp)
        order = [torch.randperm(shape.mlp)[:count].sort().values.tolist() for _ in range(shape.layers)]
        self.units = Deactivation.of({UnitKind.NEURON: [(layer, i) for layer, ids in enumerate(order) for i in ids]})
        self.tokens = random_tokens(loaded, sizes.sequences, sizes.tokens)

    def backward(self) -> None:
        logits = self.model(self.tokens, use_cache=False).logits
        cross_entropy(logits[:, :-1].float().flatten(0, 1), self.tokens[:, 1:].flatten()).backward()

    def block_maps(self) -> list[str]:
        """Return the paths of the linear maps of all blocks."""
        head = self.model.get_output_embeddings()
        return [p for p, part in self.model.named_modules() if isinstance(part, nn.Linear) and part is not head]

    @contextmanager
    def arm(self, name: str) -> Iterator[tuple[Parameters, Callable[[], None]]]:
        """Let an arm train while the block runs; yields its parameters, and what to call after a step."""
        if name == "targeted":
            with training(self.model, self.anatomy, self.units) as parts:
                yield named(parts), partial(write_all, parts)
        elif name == "full":
            self.model.requires_grad_(True)
            try:
                yield dict(self.model.named_parameters()), lambda: None
            finally:
                self.model.requires_grad_(False)
                self.model.zero_grad(set_to_none=True)
        else:
            paths = self.block_maps()
            rank = RANK
            if name == "lora":
                paths = sorted({part.path for part in parts_of(self.anatomy, self.units)})
                rank = rank_for(self.model, paths, self.trained_by_units())
            with lora(self.model, paths, rank) as factors:
                yield factors, lambda: None

    def trained_by_units(self) -> int:
        """Return how many numbers the sub-matrices have."""
        with training(self.model, self.anatomy, self.units) as parts:
            return sum(parameter.numel() for parameter in named(parts).values())


@contextmanager
def lora(model: nn.Module, paths: Sequence[str], rank: int) -> Iterator[Parameters]:
    """Add LoRA factors to linear maps while the block runs, written by hand: peft is not there. Yields the factors."""
    factors: dict[str, nn.Parameter] = {}
    with ExitStack() as stack:
        for path in paths:
            module = model.get_submodule(path)
            weight = module.get_parameter("weight")
            down = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device, dtype=weight.dtype) / rank)
            up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device, dtype=weight.dtype))
            factors |= {f"{path}.down": down, f"{path}.up": up}
            stack.enter_context(replaced_forward(module, partial(_with_factors, down, up)))
        yield factors


def _with_factors(down: nn.Parameter, up: nn.Parameter, plain: Forward) -> Forward:
    def run(x: Tensor) -> Tensor:
        result: Tensor = plain(x) + linear(linear(x, down), up)
        return result

    return run


def one_step(bench: Bench, name: str) -> dict[str, float]:
    """Do two steps of an arm, the first to warm up; measure the second."""
    cuda = bench.device != "cpu"
    with bench.arm(name) as (parameters, written):
        optimiser = torch.optim.AdamW(parameters.values(), lr=1e-6, fused=False)
        for _ in range(2):
            if cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            bench.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            written()
            if cuda:
                torch.cuda.synchronize()
            elapsed = time.perf_counter() - started
        peak = torch.cuda.max_memory_allocated() if cuda else 0
        numbers = sum(parameter.numel() for parameter in parameters.values())
    return {"step_s": elapsed, "peak": peak, "trained": numbers, "state": 3 * 2 * numbers}


def measure_training(bench: Bench, rounds: int, time_left: Callable[[], float]) -> dict[str, Any]:
    """Measure all arms in alternating rounds, as many as there is time for but at least one."""
    weights = sum(parameter.nbytes for parameter in bench.model.parameters())
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for number in range(rounds):
        if number and time_left() < 60:
            break
        for name in ARMS:
            found[name].append(one_step(bench, name))
    medians = {name: statistics.median(one["step_s"] for one in rounds_) for name, rounds_ in found.items()}
    return {
        name: {
            "step_s": round(medians[name], 4),
            "ratio": round(medians[name] / medians["full"], 3),
            "trained": int(ones[0]["trained"]),
            "state_mib": round(ones[0]["state"] / MIB, 1),
            "peak_mib": round((max(one["peak"] for one in ones) - weights) / MIB) if ones[0]["peak"] else None,
            "rounds": len(ones),
        }
        for name, ones in found.items()
    }


def measure_gradients(bench: Bench) -> dict[str, Any]:
    """Compare the sub-matrices' gradients with the same places of whole gradients, of the first and last layer."""
    with bench.arm("targeted") as (parameters, _):
        bench.backward()
        ours = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    ends = ("layers.0.mlp", f"layers.{bench.sizes.shape.layers - 1}.mlp")
    parts = [part for part in parts_of(bench.anatomy, bench.units) if any(end in part.path for end in ends)]
    weights = [bench.model.get_submodule(part.path).get_parameter("weight") for part in parts]
    for weight in weights:
        weight.requires_grad_(True)
    bench.backward()
    largest = 0.0
    for part, weight in zip(parts, weights, strict=True):
        assert weight.grad is not None
        index = torch.tensor(part.index, device=weight.device)
        same = weight.grad.index_select(0 if part.side == "rows" else 1, index).float()
        difference = (ours[f"{part.path}.{part.side}.weight"].float() - same).abs().max() / same.abs().max()
        largest = max(largest, float(difference))
    bench.model.requires_grad_(False)
    bench.model.zero_grad(set_to_none=True)
    return {"gradient_max_relative": largest, "maps": len(parts)}


def measure_bytes(bench: Bench) -> dict[str, Any]:
    """Return the bytes of the weights as they are, in FP8 and in 4 bits, map by map, each freed before the next."""
    plain = sum(parameter.nbytes for parameter in bench.model.parameters())
    fp8 = w4 = plain
    error = total = 0.0
    for path in bench.block_maps():
        weight = bench.model.get_submodule(path).get_parameter("weight").detach()
        fp8 += sum(tensor.nbytes for tensor in to_fp8(weight)) - weight.nbytes
        packed, scales = to_4_bits(weight, bench.sizes.group)
        w4 += packed.nbytes + scales.nbytes + 16 - weight.nbytes  # its shape, two numbers of 8 bytes
        error += float((from_4_bits(packed, scales, bench.sizes.group) - weight.float()).square().sum())
        total += float(weight.float().square().sum())
    return {
        "bfloat16": plain,
        "fp8": fp8,
        "w4": w4,
        "fp8_ratio": round(fp8 / plain, 3),
        "w4_ratio": round(w4 / plain, 3),
        "rounding_rms": round((error / total) ** 0.5, 4),
    }


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight as float8_e4m3fn, and the scale of each row in bfloat16."""
    scales = weight.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / torch.finfo(torch.float8_e4m3fn).max
    return (weight.float() / scales).to(torch.float8_e4m3fn), scales.to(torch.bfloat16)


def to_4_bits(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Round to the nearest of 16 values from -8 to 7 times the group's scale; eight of them in each int32.

    Returns (outputs, inputs / 8) and the scales, (outputs, inputs / group).
    """
    grouped = weight.float().unflatten(1, (-1, group))
    scales = (grouped.abs().amax(-1, keepdim=True) * 2 / 15).clamp(min=1e-12).to(torch.bfloat16)
    values = torch.clamp(torch.round(grouped / scales.float()), -8, 7).flatten(1).to(torch.int32) + 8
    shifts = torch.arange(0, 32, 4, device=weight.device, dtype=torch.int32)
    packed = (values.unflatten(1, (-1, 8)) << shifts).sum(-1, dtype=torch.int32)
    return packed, scales.squeeze(-1)


def from_4_bits(packed: Tensor, scales: Tensor, group: int) -> Tensor:
    """Return the weights that :func:`to_4_bits` has packed."""
    shifts = torch.arange(0, 32, 4, device=packed.device, dtype=torch.int32)
    values = ((packed.unsqueeze(-1) >> shifts) & 15).flatten(1) - 8
    weights: Tensor = values.unflatten(1, (-1, group)) * scales.float().unsqueeze(-1)
    return weights.flatten(1)


def measure(sizes: Sizes, device: str, rounds: int, minutes: float) -> dict[str, Any]:
    """Measure each part, print it, and return all."""
    deadline = time.monotonic() + 60 * minutes
    results: dict[str, Any] = {"skipped": []}
    bench = Bench(sizes, device)
    results["parameters"] = sum(parameter.numel() for parameter in bench.model.parameters())
    parts: dict[str, Callable[[], Any]] = {
        "bytes": partial(measure_bytes, bench),
        "gradients": partial(measure_gradients, bench),
        "training": partial(measure_training, bench, rounds, lambda: deadline - time.monotonic()),
    }
    for name, work in parts.items():
        if time.monotonic() >= deadline:
            results["skipped"].append(name)
            continue
        try:
            results[name] = work()
        except (RuntimeError, ValueError, KeyError, AssertionError) as error:  # out of memory is a RuntimeError
            results[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        print(json.dumps({name: results[name]}), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.0)
    arguments = parser.parse_args()
    cpu = arguments.device == "cpu"
    if not cpu and not torch.cuda.is_available():
        parser.error("there is no CUDA device; use --device cpu for a toy")
    results = measure(TOY if cpu else GPU, arguments.device, arguments.rounds, arguments.minutes)
    name = "cpu" if cpu else torch.cuda.get_device_name()
    report({"device": name, "model": "toy" if cpu else "3b", "transformers": transformers.__version__} | results)


if __name__ == "__main__":
    main()
