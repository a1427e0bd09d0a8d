"""Write pairs of prompts for indirect object identification, and their task file, to a new folder.

    python -m scripts.make_ioi FOLDER [--pairs 200] [--seed 0]
    modelshapley circuit MODEL --task FOLDER/ioi.yaml

In each clean prompt one of two people gives something; the answer is the other one. In the corrupted prompt the other
one gives it, so that the answer changes. The kind of task is Wang et al.'s (2022); the sentences are our own. Pairs of
unequal numbers of tokens are skipped when a model reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

NAMES = [
    *(
        "Adam",
        "Alice",
        "Anna",
        "Ben",
        "Bob",
        "Carl",
        "Claire",
        "Dan",
        "David",
        "Emma",
        "Eric",
        "Frank",
        "Grace",
        "Jack",
    ),
    *("Jack", "James", "Jane", "John", "Kate", "Laura", "Lisa", "Mary", "Mike", "Paul", "Peter", "Rose", "Ruth", "Sam"),
    *("Sarah", "Simon", "Susan", "Tom"),
]
PLACES = ["bakery", "beach", "cinema", "garden", "library", "market", "museum", "office", "park", "station"]
THINGS = ["apple", "book", "camera", "coat", "cup", "flower", "letter", "map", "pen", "ticket"]
TEMPLATES = [
    "At the {place}, {first} met {second}. Later that day, {giver} handed a {thing} to",
    "{first} and {second} spent the morning at the {place}. Before leaving, {giver} gave a {thing} to",
    "Since {first} and {second} both work at the {place}, {giver} often lends a {thing} to",
    "On the way to the {place}, {first} talked with {second}, and then {giver} passed a {thing} to",
    "{first} waited for {second} near the {place}, where {giver} showed a {thing} to",
]
TASK = """kind: counterfactual
name: ioi
title: Indirect object identification
summary: Who was it given to? The name that did not give it, by the difference of two logits.
source: {path: .}
probe: {split: train}
test: {split: test}
prompt: "{clean}"
corrupted: "{corrupted}"
answer: "{answer}"
wrong: "{wrong}"
classes: order
on_bad: skip
"""


def pairs(count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Return rows of `count` pairs; in half of them, at random, the answer is the person named first."""
    rows = []
    for _ in range(count):
        first, second = rng.choice(NAMES, 2, replace=False).tolist()
        answer, giver = (first, second) if rng.random() < 0.5 else (second, first)
        words = {"first": first, "second": second, "place": rng.choice(PLACES), "thing": rng.choice(THINGS)}
        template = str(rng.choice(TEMPLATES))
        rows.append(
            {
                "clean": template.format(giver=giver, **words),
                "corrupted": template.format(giver=answer, **words),
                "answer": answer,
                "wrong": giver,
                "order": "first" if answer == first else "second",
            }
        )
    return rows


def write(folder: Path, count: int, seed: int) -> None:
    """Write `count` pairs for scoring and as many for measuring. Raises FileExistsError."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        lines = "".join(f"{json.dumps(row)}\n" for row in pairs(count, rng))
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "ioi.yaml").write_text(TASK, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.folder, options.pairs, options.seed)
    print(f"{options.folder}: ioi.yaml with {options.pairs} pairs for scoring and as many for measuring")


if __name__ == "__main__":
    main()
