"""One of several processes that fine-tune a toy model together: `python -m tests.support.trained_together FOLDER`.

Prints the loss of the targeted arm. RANK and WORLD_SIZE say which of how many it is, as launchers set them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from modelshapley.applications.finetuning.finetune import finetune
from modelshapley.contracts.applications.finetuning import FinetuneSettings
from modelshapley.units import Deactivation, UnitKind
from tests.support.toys import LLAMA, ToyTask, tiny

SETTINGS = FinetuneSettings(steps=6, batch=8, accumulate=2, rate=1e-2)
UNITS = Deactivation.of({UnitKind.NEURON: [(0, 1), (2, 3)], UnitKind.HEAD: [(1, 0)]})


def main(folder: str) -> None:
    loaded = tiny(LLAMA)
    info = finetune(loaded, ToyTask(loaded, probe=40), UNITS, Path(folder), settings=SETTINGS, controls=["random"])
    print(repr([arm.loss for arm in info.arms]))


if __name__ == "__main__":
    main(sys.argv[1])
