"""Both states of a model on one answer, and its map, are what plain passes and a one-example task give."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from modelshapley import load_task
from modelshapley.contracts import RunLabels, RunRequest
from modelshapley.contracts.prompts import PromptMapRequest, PromptSettings, PromptToken
from modelshapley.contracts.task_files.file import parse
from modelshapley.errors import BadPrompt, TaskMismatch
from modelshapley.interventions.gates import changes_of, treated
from modelshapley.interventions.weights import scaled_weights
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.answer_task import picture_task, text_task
from modelshapley.prompts.comparing import compare_answer
from modelshapley.prompts.pictures import class_names, compare_picture
from modelshapley.prompts.reading import ReadPrompt, read_prompt
from modelshapley.prompts.writing import Writing
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.digits import Digits
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.units import DEFAULT_KINDS, Deactivation, UnitKind
from tests.support.trialling import untouched

QUESTION = "What is the capital of France?"
OFF = Deactivation.of({UnitKind.HEAD: [(layer, 4) for layer in range(0, 30, 3)], UnitKind.LAYER: [12]})
Written = tuple[ReadPrompt, list[PromptToken]]


@pytest.fixture(scope="module")
def answer(smollm2: LoadedModel) -> Written:
    """A question as the model reads it, and the tokens of its answer."""
    settings = PromptSettings(max_new_tokens=12)
    read = read_prompt(smollm2, QUESTION, settings)
    writing = Writing(smollm2, read.tokens, read.limit, settings)
    list(writing.steps())
    assert "Paris" in writing.intact.text
    return read, writing.intact.tokens


def test_positions_are_those_of_plain_passes(smollm2: LoadedModel, answer: Written) -> None:
    read, tokens = answer
    ids = [token.id for token in tokens]
    comparison = compare_answer(smollm2, read.tokens, ids, changes_of(smollm2.anatomy, OFF))
    assert untouched(smollm2)
    whole = torch.tensor([[*read.tokens, *ids]])
    with torch.no_grad():
        p = smollm2.model(whole).logits[0].double().softmax(-1)
        with scaled_weights(smollm2.model, smollm2.anatomy, OFF):
            q = smollm2.model(whole).logits[0].double().softmax(-1)
    assert [position.id for position in comparison.positions] == ids
    for place, position in enumerate(comparison.positions, len(read.tokens) - 1):
        before, after, chosen = p[place], q[place], position.id
        assert position.loss_intact == pytest.approx(-float(before[chosen].log()), abs=1e-4)
        assert position.loss_changed == pytest.approx(-float(after[chosen].log()), abs=1e-3)
        kl = float((before * (before / after).log()).sum())
        assert position.kl == pytest.approx(kl, abs=1e-4, rel=1e-3)
        listed = {token.id: token for token in position.next}
        wanted = set(before.topk(8).indices.tolist()) | set(after.topk(8).indices.tolist())
        assert wanted | set((after - before).abs().topk(8).indices.tolist()) == set(listed)
        for number, token in listed.items():
            assert token.intact == pytest.approx(float(before[number]), abs=1e-4)
            assert token.changed == pytest.approx(float(after[number]), abs=1e-4)
        assert [t.intact for t in position.next] == sorted((t.intact for t in position.next), reverse=True)
    assert max(position.kl for position in comparison.positions) > 0.1


def test_the_probabilities_while_writing_are_those_of_the_comparison(smollm2: LoadedModel, answer: Written) -> None:
    read, tokens = answer
    comparison = compare_answer(smollm2, read.tokens, [token.id for token in tokens], [])
    for token, position in zip(tokens, comparison.positions, strict=True):
        assert np.exp(-position.loss_intact) == pytest.approx(token.probability, abs=1e-4)
        assert position.kl == 0


def test_the_task_of_an_answer_has_its_tokens_and_survives_its_file(
    smollm2: LoadedModel, answer: Written, tmp_path: Path
) -> None:
    read, tokens = answer
    spec = text_task("one-answer", QUESTION, "auto", tokens)
    assert parse(json.loads(spec.model_dump_json(exclude_defaults=True)), "itself") == spec
    file = tmp_path / "one.json"
    file.write_text(spec.model_dump_json(exclude_defaults=True))
    task: Any = load_task(file)
    for split in Split:
        (example,) = task.select(smollm2, split)
        continuation = task.continuation(smollm2, example)
        counted = [token.id for token in tokens if not token.end]
        assert list(continuation.tokens) == [*read.tokens, *counted]
        assert continuation.start == len(read.tokens)
    positions = compare_answer(smollm2, read.tokens, [t.id for t in tokens], changes_of(smollm2.anatomy, OFF)).positions
    counted_positions = [p for p, token in zip(positions, tokens, strict=True) if not token.end]
    with torch.no_grad():
        (loss,) = task.losses(smollm2, [example]).tolist()
        with treated(smollm2.model, smollm2.anatomy, OFF):
            (loss_off,) = task.losses(smollm2, [example]).tolist()
    assert loss == pytest.approx(np.mean([p.loss_intact for p in counted_positions]), abs=1e-4)
    assert loss_off == pytest.approx(np.mean([p.loss_changed for p in counted_positions]), abs=1e-3)
    assert task.correct(smollm2, [example]).tolist() == [True]  # a greedy answer is the likeliest


def test_the_map_of_an_answer_equals_that_of_a_task_with_this_example(
    smollm2: LoadedModel, answer: Written, tmp_path: Path
) -> None:
    """The other task gives the answer as text in a file, as a user would write it."""
    _, tokens = answer
    text = "".join(token.text for token in tokens)
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"question": QUESTION, "answer": text}) + "\n")
    data = {
        "kind": "generation",
        "name": "one",
        "prompt": "{question}",
        "source": {"path": "."},
        "probe": {"split": "train"},
    }
    (tmp_path / "one.json").write_text(json.dumps(data))
    tasks = [TaskCatalog().open(text_task("answer", QUESTION, "auto", tokens)), load_task(tmp_path / "one.json")]
    methods = [load_method(method) for method in ("two-sided", "mean-abs")]
    kinds = [kind for kind in DEFAULT_KINDS if kind in smollm2.anatomy.shapes.kinds]
    maps, others = (score(Scoring(smollm2, task, methods, kinds, 1)) for task in tasks)
    for method, importance_map in maps.items():
        for kind in kinds:
            np.testing.assert_allclose(importance_map.scores[kind], others[method].scores[kind], rtol=1e-5, atol=1e-9)
            assert np.abs(importance_map.scores[kind]).max() > 0


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_answer_without_text_has_no_task(text: str) -> None:
    tokens = [PromptToken(id=3, text=text, probability=0.5), PromptToken(id=2, text="", probability=0.5, end=True)]
    with pytest.raises(BadPrompt, match="The answer has no text"):
        text_task("one", QUESTION, "auto", tokens)


def test_the_title_of_an_answer_can_name_a_run() -> None:
    tokens = [PromptToken(id=3, text="\x1b[0m\x00red\n\x7f", probability=0.5)]
    title = text_task("one", QUESTION, "auto", tokens).title
    assert title == "One answer: [0m red"
    assert RunLabels(name=title).name == title


@pytest.mark.parametrize("contract", [PromptMapRequest, partial(RunRequest, model="demo:x", task="y")])
def test_kinds_are_named_once(contract: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="units names one more than once: head, head"):
        contract(units=["head", "head"])


# -- pictures -------------------------------------------------------------------------------------


def picture(seed: int = 0) -> str:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def test_a_picture_is_compared_by_its_classes(digits_vit: LoadedModel) -> None:
    off = Deactivation.of({UnitKind.HEAD: [(0, 0), (1, 2)], UnitKind.NEURON: [(2, n) for n in range(0, 40, 3)]})
    comparison = compare_picture(digits_vit, picture(), changes_of(digits_vit.anatomy, off))
    (position,) = comparison.positions
    task: Any = TaskCatalog().open(picture_task("one", picture(), position.id, class_names(digits_vit)))
    (example,) = task.select(digits_vit, Split.PROBE)
    with torch.no_grad():
        intact = task.logits(digits_vit, [example])[0].double().softmax(-1)
        (loss,) = task.losses(digits_vit, [example]).tolist()
        with scaled_weights(digits_vit.model, digits_vit.anatomy, off):
            changed = task.logits(digits_vit, [example])[0].double().softmax(-1)
    assert position.id == int(intact.argmax())
    assert position.loss_intact == pytest.approx(loss, abs=1e-5)
    assert {token.id: round(token.intact, 5) for token in position.next}.items() <= {
        number: round(p, 5) for number, p in enumerate(intact.tolist())
    }.items()
    assert position.kl == pytest.approx(float((intact * (intact / changed).log()).sum()), rel=1e-3)
    scores = score(Scoring(digits_vit, task, [load_method("two-sided")], [UnitKind.HEAD], 1))["two-sided"]
    assert np.abs(scores.scores[UnitKind.HEAD]).max() > 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("data:image/png;base64,!!!", "is no data URL"),
        ("hello", "is no data URL"),
        (f"data:image/png;base64,{base64.b64encode(b'no picture').decode()}", "cannot be read"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(digits_vit: LoadedModel, image: str, message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        compare_picture(digits_vit, image, [])


def test_a_picture_for_a_language_model_is_refused(smollm2: LoadedModel) -> None:
    with pytest.raises(TaskMismatch, match="A picture needs a model that classifies images"):
        compare_picture(smollm2, picture(), [])


def test_classes_with_the_same_name_are_told_apart() -> None:
    spec = picture_task("one", picture(), 2, ["crane", "bull", "crane"])
    assert spec.labels == ["crane (class 0)", "bull", "crane (class 2)"]


def test_a_digit_as_a_picture_is_read_as_its_task_reads_it(digits_vit: LoadedModel) -> None:
    digits = Digits()
    examples = digits.examples(Split.TEST)[:8]
    for example, predicted in zip(examples, digits.predicted_text(digits_vit, examples), strict=True):
        stream = io.BytesIO()
        grey = ((example.pixels[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        PIL.Image.fromarray(grey).save(stream, "PNG")
        image = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
        (position,) = compare_picture(digits_vit, image, []).positions
        assert position.text == predicted
        (loss,) = digits.losses(digits_vit, [replace(example, label=position.id)]).tolist()
        assert position.loss_intact == pytest.approx(loss, abs=0.02)  # 8 bits a pixel
