"""A look at a task says what the model is given, what counts, and what would stop a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelshapley import load_task
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.tasks.preview import check_task
from tests.support.task_data import asked, jsonl, model, task, tokenizer
from tests.support.toys import LLAMA
from tests.tasks.test_kinds import image_model, pictures

HALVES = {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}


def test_tokens_are_those_that_the_model_is_given_and_the_answers_are_marked(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", asked(12))
    made = task(tmp_path, source={"path": "rows.jsonl"}, **HALVES)
    loaded = model(LLAMA, tokenizer())
    found = check_task(made, loaded, seed=3)
    assert (found.info.probe_examples, found.info.test_examples, found.problems) == (6, 6, [])
    first = made.examples(Split.PROBE, 3)[:3]
    for shown, example in zip(found.examples, first, strict=True):
        assert "".join(token.text for token in shown.tokens) == f"{example.prompt} {example.answer}"
        assert "".join(token.text for token in shown.tokens if token.loss).strip() == example.answer
        assert shown.right == example.answer
    sizes = [made.size(loaded, example) for example in made.examples(Split.PROBE, 3)]
    assert (found.longest, found.context) == (max(sizes), 64)
    assert found.fingerprint == made.fingerprint(3) != made.fingerprint(4)


def test_rows_that_stop_a_run_are_a_problem_and_rows_that_are_left_out_are_not(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [*asked(6), {"question": "no answer", "answer": ""}, "{broken"])
    for on_bad in ("stop", "skip"):
        found = check_task(task(tmp_path, source={"path": "rows.jsonl"}, on_bad=on_bad, **HALVES), None)
        assert bool(found.problems) == (on_bad == "stop")
        assert {(bad.count, *bad.rows) for bad in found.bad} == {
            (1, "rows.jsonl, row 7"),
            (1, "rows.jsonl, row 8"),
        }
        assert len(found.examples) == 3
        assert not any(example.tokens for example in found.examples)


def test_an_example_that_the_model_cannot_read_whole_is_found_before_the_run(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [{"question": "word " * 200, "answer": "1"}, *asked(9)])
    loaded = model(LLAMA, tokenizer())
    parts: dict[str, Any] = {"probe": {"split": "all", "share": 0.9}, "test": {"split": "all", "share": 0.1}, "seed": 1}
    made = task(tmp_path, source={"path": "rows.jsonl"}, **parts)
    assert any(len(example.prompt) > 500 for example in made.examples(Split.PROBE))
    found = check_task(made, loaded)
    assert "longer than the 64 tokens" in found.problems[0]
    assert "rows.jsonl, row 1" in found.problems[0]


def test_classes_that_do_not_match_are_shown_as_both_lists(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    made = task(tmp_path, {"kind": "image-classification"}, source={"path": "pictures"}, **HALVES)
    found = check_task(made, image_model())
    assert found.labels is not None
    assert found.labels.data == made.classes
    assert found.labels.model == list(image_model().model.config.id2label.values())
    assert bool(found.labels.problem) == bool(found.problems)
    assert found.examples[0].image is not None
    assert found.examples[0].image.startswith("data:image/png;base64,")


def test_a_task_made_by_code_is_shown_too(digits_vit: LoadedModel) -> None:
    found = check_task(load_task("digits"), digits_vit)
    assert (found.info.probe_examples, found.longest, found.bad, found.problems) == (288, None, [], [])
    assert sum(found.classes.values()) == 288
    wrong = check_task(load_task("world-capitals"), digits_vit)
    assert "needs a causal language model" in wrong.problems[0]
    assert wrong.examples[0].choices
