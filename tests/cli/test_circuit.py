"""The command `circuit`, on pairs of prompts and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelshapley.evaluation.circuits import SHARES
from tests.support.command_line import run
from tests.support.task_data import model, tokenizer
from tests.support.toys import LLAMA

PAIRS = """
kind: counterfactual
name: pairs
source:
  rows:
    train:
      - {clean: "2 met 4 and 4 gave to ", other: "2 met 4 and 2 gave to ", right: "2", wrong: "4"}
      - {clean: "5 met 3 and 3 gave to ", other: "5 met 3 and 5 gave to ", right: "5", wrong: "3"}
    test:
      - {clean: "6 met 2 and 2 gave to ", other: "6 met 2 and 6 gave to ", right: "6", wrong: "2"}
probe: {split: train}
prompt: "{clean}"
corrupted: "{other}"
answer: "{right}"
wrong: "{wrong}"
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "pairs.yaml").write_text(PAIRS)
    words = tokenizer()
    model(LLAMA, words).model.save_pretrained(tmp_path / "tiny")
    words.save_pretrained(tmp_path / "tiny")
    return tmp_path


def test_faithfulness_is_printed_as_text_and_as_json(folder: Path) -> None:
    told = run("circuit", "tiny", "--task", "pairs.yaml", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "faithfulness 1.000" in told.stdout.splitlines()[len(SHARES)]
    assert "CPR" in told.stdout.splitlines()[-1]
    found = run("circuit", "tiny", "--task", "pairs.yaml", "--units", "head", "--json", cwd=folder)
    curve = json.loads(found.stdout)
    assert [point["share"] for point in curve["points"]] == list(SHARES)
    assert curve["points"][-1]["units"] == 12
    assert curve["examples"] == 1
    heights = [point["faithfulness"] for point in curve["points"]]
    assert curve["cpr"] == pytest.approx(
        sum((b - a) * (x + y) / 2 for a, b, x, y in zip(SHARES, SHARES[1:], heights, heights[1:], strict=False))
    )


def test_a_task_without_pairs_is_refused(folder: Path) -> None:
    text = PAIRS.replace("kind: counterfactual", "kind: generation")
    for line in ('corrupted: "{other}"\n', 'wrong: "{wrong}"\n'):
        text = text.replace(line, "")
    (folder / "asked.yaml").write_text(text)
    refused = run("circuit", "no-such-folder", "--task", "asked.yaml", "--method", "random", cwd=folder)
    assert refused.returncode == 1
    assert "no corrupted prompts" in refused.stderr, "before the model is loaded"
