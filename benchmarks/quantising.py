"""What quantising SmolLM2 costs, by scheme, calibrated and measured on solved problems of GSM8K as plain text.

    python -m benchmarks.quantising --json [--texts 24]

`schemes`: for each, the loss of the test examples minus the parent's with its 95 % interval (nats), accuracy points,
bytes of weights, and how many linear maps the method gave up on (`fallbacks`). `gptq_share_of_rtn_gap` = the share of
the loss that rounding to the nearest value costs which GPTQ avoids. `reload_max_logit_difference`: the largest of all.
`released_equals_rtn`: whether every tensor of `paper-released` is that of `rtn-w4`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.support.common import DATA, report
from benchmarks.support.solved import solved_problems
from modelshapley.applications.quantising.quantise import quantise
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.evaluation.accuracy import evaluate
from modelshapley.models.catalog import SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loading import load
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation

PRINTED = "paper-algorithm-1"
SCHEMES = (("rtn-w4", 0.5), ("gptq-w4", 0.5), ("paper-released", 0.5), *((PRINTED, beta) for beta in (0.1, 0.5, 0.9)))


def measure(count: int) -> dict[str, Any]:
    catalog, task = Catalog(DATA), solved_problems(count)
    prepare_smollm2(catalog.smollm2_folder)
    folder = catalog.folder(SMOLLM2)
    loaded = load(folder)
    intact = evaluate(loaded, task, Deactivation(), task.select(loaded, Split.TEST))
    infos: dict[str, QuantisedInfo] = {}
    with tempfile.TemporaryDirectory() as work:
        for scheme, beta in SCHEMES:
            name = f"{scheme} beta {beta}" if scheme == PRINTED else scheme
            infos[name] = quantise(
                loaded,
                task,
                scheme,
                Path(work) / name,
                parent_folder=folder.path,
                beta=beta,
                limit=None,
                intact=intact,
            )
        one, other = (load_file(Path(work) / name / "model.safetensors") for name in ("rtn-w4", "paper-released"))
        same = one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    rtn, gptq = infos["rtn-w4"].loss_difference, infos["gptq-w4"].loss_difference
    return {
        "parent_loss": round(intact.loss, 4),
        "schemes": {name: _row(info) for name, info in infos.items()},
        "gptq_share_of_rtn_gap": round((rtn - gptq) / rtn, 3),
        "reload_max_logit_difference": max(info.reload_max_logit_difference for info in infos.values()),
        "released_equals_rtn": same,
    }


def _row(info: QuantisedInfo) -> dict[str, Any]:
    return {
        "loss_difference": round(info.loss_difference, 4),
        "interval": [round(end, 4) for end in info.loss_interval],
        "accuracy_points": round(100 * info.trial.difference, 1),
        "bytes": info.bytes,
        "maps": info.maps,
        "fallbacks": info.fallbacks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--texts", type=int, default=24, help="to calibrate with, and as many to measure on")
    report(measure(parser.parse_args().texts))


if __name__ == "__main__":
    main()
