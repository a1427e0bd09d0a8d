"""Storage of sampled Shapley values next to the script that samples them, with their provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.support.common import DATA
from modelshapley.evaluation.game import Game, Utility
from modelshapley.evaluation.sampling import Estimate
from modelshapley.models.catalog import SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loading import load as load_model
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.world_capitals import Question, WorldCapitals
from modelshapley.units import UnitKind

EXAMPLES = 16


def game(kind: UnitKind, task: WorldCapitals, utility: Utility = "loss") -> Game:
    """Return the game of SmolLM2's units of a kind on the first EXAMPLES probe questions of seed 0.

    Its utility is minus the mean loss, or the share of right answers.
    """
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    examples: Sequence[Question] = task.examples(Split.PROBE)[:EXAMPLES]
    return Game(load_model(catalog.folder(SMOLLM2)), task, kind, examples, utility)


class CachedGame:
    """The game in shapiq's interface; measured coalitions are cached."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._values: dict[bytes, float] = {}

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(coalitions).astype(bool)
        for on in rows:
            if on.tobytes() not in self._values:
                self._values[on.tobytes()] = self._game.value(on)
        return np.array([self._values[on.tobytes()] for on in rows])


def load_estimate(file: Path, players: int) -> Estimate:
    """Load the rows of a .safetensors file, if it exists: (players,) values, each row a separate estimate."""
    rows = load_file(file)["pairs"] if file.exists() else np.zeros((0, players), np.float32)
    return Estimate(rows.astype(np.float64))


def save_estimate(file: Path, command: str, of: Game, estimate: Estimate, **about: Any) -> dict[str, Any]:
    """Save the rows and a summary next to them; return the summary."""
    save_file({"pairs": estimate.pairs.astype(np.float32)}, file)
    summary = {
        "command": f"python -m {command}",
        "date": datetime.now(UTC).date().isoformat(),
        "model": SMOLLM2,
        "revision": of.loaded.revision,
        "task_fingerprint": of.task.fingerprint(0),
        "examples": EXAMPLES,
        "utility": of.utility,
        **about,
        "split_half": round(estimate.split_half(), 4),
        "reliability": round(estimate.reliability(), 4),
    }
    file.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary
