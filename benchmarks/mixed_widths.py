"""Whether a map says which layers of SmolLM2 to round to 8 bits rather than to 4, on solved problems of GSM8K.

    python -m benchmarks.mixed_widths --json [--texts 24] [--wide 8] [--draws 5]

Linear maps are rounded to the nearest of 4 bits, in groups of 64, but those of `--wide` layers to 8: the bytes are the
same whichever layers these are. They are chosen on the calibration texts: `two-sided`, the highest scores;
`alone`, where rounding this layer alone costs most loss. `random`: the mean over `--draws` draws. `uniform`: 5 bits
everywhere, nearly as many bytes. Each has the loss of the test texts minus the parent's, and minus random's, with
paired 95 % intervals over texts (nats a token).
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.fidelity import log
from benchmarks.support.common import DATA, report
from benchmarks.support.solved import solved_problems
from modelshapley.applications.quantising.schemes import quantised_maps
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.evaluation.intervals import mean_half_width
from modelshapley.methods import load_method
from modelshapley.models.catalog import SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind

GROUP = 64
METHODS = ("two-sided",)
Losses = npt.NDArray[np.float64]


def rounded(weight: Tensor, bits: int) -> Tensor:
    """Round to the nearest of 2^bits - 1 steps, symmetric about 0, with a scale for each group of 64 inputs."""
    groups, steps = weight.reshape(weight.shape[0], -1, GROUP), 2 ** (bits - 1) - 1
    scale = (groups.abs().amax(-1, keepdim=True) / steps).clamp(min=1e-12)
    values: Tensor = torch.round(groups / scale) * scale
    return values.reshape(weight.shape)


@contextmanager
def with_bits(maps: Mapping[int, Sequence[nn.Linear]], bits: Mapping[int, int]) -> Iterator[None]:
    """Round the maps of layers while the block runs. bits: of each layer that is rounded."""
    kept = {module: module.weight.data for layer in bits for module in maps[layer]}
    for layer, width in bits.items():
        for module in maps[layer]:
            module.weight.data = rounded(kept[module], width)
    try:
        yield
    finally:
        for module, weight in kept.items():
            module.weight.data = weight


class Rounding:
    """The model, its maps by layer, and both halves of the texts."""

    def __init__(self, texts: int) -> None:
        catalog, self.task = Catalog(DATA), solved_problems(texts)
        prepare_smollm2(catalog.smollm2_folder)
        self.loaded: LoadedModel = load(catalog.folder(SMOLLM2))
        self.layers = self.loaded.anatomy.shapes.layers
        blocks = [f"{layer.block}." for layer in self.loaded.anatomy.layers]
        linear = quantised_maps(self.loaded.model).items()
        self.maps = {
            number: [module for path, module in linear if path.startswith(block)] for number, block in enumerate(blocks)
        }

    def losses(self, bits: Mapping[int, int], split: Split = Split.TEST) -> Losses:
        """Return the loss of each text with layers rounded."""
        examples = self.task.select(self.loaded, split)
        with with_bits(self.maps, bits):
            losses = evaluate(self.loaded, self.task, Deactivation(), examples, answers=0).losses.astype(np.float64)
        log(f"{split}, bits {list(bits.values())}: {losses.mean():.4f}")
        return losses

    def mixed(self, wide: Collection[int]) -> Losses:
        return self.losses({layer: 8 if layer in wide else 4 for layer in range(self.layers)})

    def rankings(self) -> dict[str, list[int]]:
        """Return the layers by each score of the calibration texts, highest first."""
        chosen = [load_method(method) for method in METHODS]
        count = len(self.task.select(self.loaded, Split.PROBE))
        maps = score(Scoring(self.loaded, self.task, chosen, [UnitKind.LAYER], count))
        values = {name: one.scores[UnitKind.LAYER].ravel() for name, one in maps.items()}
        intact = self.losses({}, Split.PROBE)
        values["alone"] = np.array(
            [(self.losses({layer: 4}, Split.PROBE) - intact).mean() for layer in range(self.layers)]
        )
        return {name: np.argsort(-scores).tolist() for name, scores in values.items()}


def measure(texts: int, wide: int, draws: int) -> dict[str, Any]:
    rounding = Rounding(texts)
    intact, rng = rounding.losses({}), np.random.default_rng(0)
    drawn = [rounding.mixed(rng.permutation(rounding.layers)[:wide].tolist()) for _ in range(draws)]
    random = np.mean(drawn, axis=0)
    rows = {"random": random, "uniform": rounding.losses(dict.fromkeys(range(rounding.layers), 5))}
    chosen = {name: ranking[:wide] for name, ranking in rounding.rankings().items()}
    rows |= {name: rounding.mixed(layers) for name, layers in chosen.items()}
    return {
        "parent_loss": round(float(intact.mean()), 4),
        "random_draws": [round(float((one - intact).mean()), 4) for one in drawn],
        "layers": {name: sorted(layers) for name, layers in chosen.items()},
        **{
            name: {"minus_parent": _row(row - intact), "minus_random": _row(row - random)} for name, row in rows.items()
        },
    }


def _row(differences: Losses) -> list[float]:
    """Return the mean and its 95 % interval."""
    mean, half = float(differences.mean()), mean_half_width(differences)
    return [round(value, 4) for value in (mean, mean - half, mean + half)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--texts", type=int, default=24, help="to score with, and as many to measure on")
    parser.add_argument("--wide", type=int, default=8, help="layers of 8 bits")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    report(measure(options.texts, options.wide, options.draws))


if __name__ == "__main__":
    main()
