"""Speed of text tasks: teacher-forced losses and generated answers, against plain loops, in one run.

    python -m benchmarks.tasks --json [--datasets FOLDER]

SmolLM2 on GSM8K. `tokens_per_s`: 64 test questions with their reference answers, by the task's own losses (batches
of like length, tokenised once); `bare_tokens_per_s`: a loop of forward passes over the same tokens, one question
at a time, so without padding; `efficiency`: the ratio. `generation_speedup`: answers written by the task
(left-padded batches, a cache of keys and values, ended where the answer is complete) against transformers'
`generate` on one question after the other, both greedy and of at most `new_tokens` tokens; `same_answers`: how
many are equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.common import DATA, report
from modelshapley.evaluation.trials import in_passes
from modelshapley.models.catalog import SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.tasks import TaskCatalog
from modelshapley.tasks.base import Split
from modelshapley.tasks.batching import length_batches
from modelshapley.tasks.kinds.generation import Generation, Question
from modelshapley.tasks.language.text import context_length


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    with torch.inference_mode():
        result = work()
    return time.perf_counter() - started, result


def bare_forward(loaded: LoadedModel, task: Generation, examples: Sequence[Question]) -> None:
    for example in examples:
        loaded.model(input_ids=torch.tensor([task.continuation(loaded, example).tokens]), use_cache=False)


def measure_losses(loaded: LoadedModel, task: Generation, examples: Sequence[Question], rounds: int) -> dict[str, Any]:
    tokens = sum(task.size(loaded, example) for example in examples)
    bare_forward(loaded, task, examples[:2])
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: in_passes(loaded, task, examples, task.losses))[0])
        bare.append(seconds(lambda: bare_forward(loaded, task, examples))[0])
    mine, theirs = float(np.median(ours)), float(np.median(bare))
    return {
        "questions": len(examples),
        "tokens": tokens,
        "tokens_per_s": round(tokens / mine, 1),
        "bare_tokens_per_s": round(tokens / theirs, 1),
        "efficiency": round(theirs / mine, 3),
    }


def generate_one_by_one(loaded: LoadedModel, task: Generation, examples: Sequence[Question]) -> list[str]:
    texts = []
    model: Any = loaded.model
    for example in examples:
        prompt = torch.tensor([task.prompt(loaded, example)])
        limit = context_length(loaded)
        assert limit is not None
        output = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=min(task.spec.max_new_tokens, limit - prompt.shape[1]),
        )
        texts.append(loaded.tokenizer.decode(output[0, prompt.shape[1] :], skip_special_tokens=True))  # type: ignore[union-attr]
    return texts


def generate_in_batches(loaded: LoadedModel, task: Generation, examples: Sequence[Question]) -> list[str]:
    texts = [""] * len(examples)
    for places in length_batches([task.size(loaded, e) for e in examples], len(examples), task.answer_tokens):
        for place, text in zip(places, task.generate(loaded, [examples[p] for p in places]), strict=True):
            texts[place] = text
    return texts


def measure_generation(loaded: LoadedModel, task: Generation, examples: Sequence[Question]) -> dict[str, Any]:
    generate_in_batches(loaded, task, examples[:1])
    mine, ours = seconds(lambda: generate_in_batches(loaded, task, examples))
    theirs, plain = seconds(lambda: generate_one_by_one(loaded, task, examples))
    same = sum(task.rule.find(a) == task.rule.find(b) for a, b in zip(ours, plain, strict=True))
    return {
        "written": len(examples),
        "new_tokens": task.spec.max_new_tokens,
        "together_s": round(mine, 1),
        "one_by_one_s": round(theirs, 1),
        "generation_speedup": round(theirs / mine, 2),
        "same_answers": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--datasets", type=Path, default=Path("tests/data"), help="folder that holds gsm8k")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--written", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    loaded = load(catalog.folder(SMOLLM2))
    tasks = TaskCatalog([options.datasets])
    spec = tasks.file("gsm8k")
    assert spec is not None
    task = tasks.open(spec.model_copy(update={"max_new_tokens": options.new_tokens}))
    assert isinstance(task, Generation)
    examples = task.select(loaded, Split.TEST, 0, options.questions)
    report(
        measure_losses(loaded, task, examples, options.rounds)
        | measure_generation(loaded, task, examples[: options.written])
    )


if __name__ == "__main__":
    main()
