"""The table of docs/methods.md: accuracy of the demo language model without its least important units, by method.

python scripts/compare_methods.py --data .data
"""

from __future__ import annotations

import argparse
from pathlib import Path

from modelshapley.catalog import SMOLLM2, Catalog
from modelshapley.demo import prepare_smollm2
from modelshapley.methods import METHODS, load_method
from modelshapley.models import load
from modelshapley.scoring import Scoring, score
from modelshapley.tasks import load_task
from modelshapley.trials import all_answers
from modelshapley.units import Deactivation, UnitKind, extreme_units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".data"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    catalog = Catalog(options.data)
    prepare_smollm2(catalog.smollm2_folder, print)
    loaded, task = load(catalog.folder(SMOLLM2)), load_task("world-capitals")
    kinds = (UnitKind.HEAD, UnitKind.NEURON)
    maps = score(Scoring(loaded, task, [load_method(m) for m in METHODS], kinds, 256, options.seed))
    print(f"intact {all_answers(loaded, task, Deactivation(), options.seed).mean():.3f}")
    print("| method | heads | neurons |\n|---|---|---|")
    for method, found in maps.items():
        cells = []
        for kind in kinds:
            offs = [extreme_units(found.scores[kind], kind, "least", fraction) for fraction in (0.2, 0.4)]
            cells.append(" / ".join(f"{all_answers(loaded, task, off, options.seed).mean():.3f}" for off in offs))
        print(f"| {method} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
