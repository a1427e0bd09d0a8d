"""Every kind of task: a batch gives what each example gives alone, and both what a slow and plain way gives."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import transformers
from torch.nn import functional

from modelshapley.errors import BadData, TaskMismatch
from modelshapley.interventions.gates import gated, gated_each
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.answers import AnswerRule
from modelshapley.tasks.base import Split
from modelshapley.tasks.kinds.image_classification import Picture
from modelshapley.units import UnitKind
from tests.support.task_data import TEXTS, jsonl, model, picture, task, tokenizer
from tests.support.toys import CONFIGS, VIT, tiny

TOKENIZERS: dict[str, dict[str, Any]] = {
    "bytes": {},
    "bytes with bos": {"bos": True},
    "bytes with both ends": {"bos": True, "eos": True},
    "words": {"kind": "words"},
    "chat": {"bos": True, "chat": True},
}
WRITERS = [(config, words) for config in ("gpt2", "llama") for words in TOKENIZERS] + [
    ("mistral", "bytes"),
    ("gpt_neox", "bytes"),
    ("gemma2", "bytes with bos"),
    ("qwen3_moe", "bytes"),
]
LETTERS = "abcdefgh"


def language_model(config: str, words: str, **changes: Any) -> LoadedModel:
    loaded = model(CONFIGS[config], tokenizer(**TOKENIZERS[words]), **changes)
    loaded.model.double()  # so that no two tokens are equally likely but for rounding
    return loaded


def rows() -> list[dict[str, Any]]:
    """Eight questions of very different lengths."""
    words = " ".join(TEXTS).split()
    rng = np.random.default_rng(0)
    return [
        {
            "question": " ".join(words[i : i + 1 + 2 * i]),
            "answer": " ".join(words[3 * i : 3 * i + 1 + i % 3]),
            "options": [" ".join(rng.choice(words, 1 + (i + j) % 3)) for j in range(2 + i % 3)],
            "right": i % 2,
        }
        for i in range(8)
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        jsonl(folder / f"{split}.jsonl", rows())
    return folder


def made(root: Path, kind: str, **fields: Any) -> Any:
    return task(root, {"kind": kind, "source": {"path": "."}, "probe": {"split": "train"}} | fields)


def before(loaded: LoadedModel, prompt: str, system: str = "") -> str:
    """What stands before the answer, as the chat template of these tests has it."""
    if loaded.tokenizer.chat_template is None:
        return f"{system}\n\n{prompt}" if system else prompt
    return f"{f'<|system|>{system}<|end|>' if system else ''}<|user|>{prompt}<|end|><|assistant|>"


def ids_of(loaded: LoadedModel, text: str) -> list[int]:
    assert loaded.tokenizer is not None
    chat = loaded.tokenizer.chat_template is not None
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=not chat)["input_ids"]
    return ids[:-1] if ids[-1] == 2 else ids  # without the end of the text


@torch.no_grad()
def log_likelihoods(loaded: LoadedModel, prompt: str, ending: str, system: str = "") -> list[float]:
    """Of the tokens of an ending: one sequence, all logits, no padding."""
    start = before(loaded, prompt, system)
    gap = "" if loaded.tokenizer.chat_template else " "
    ids, first = ids_of(loaded, start + gap + ending), len(ids_of(loaded, start))
    by_place = loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [by_place[i - 1, ids[i]].item() for i in range(first, len(ids))]


@torch.no_grad()
def written(loaded: LoadedModel, prompt: str, most: int, rule: AnswerRule) -> str:
    """Greedy, one token after another, everything computed anew."""
    ids = ids_of(loaded, before(loaded, prompt))
    new: list[int] = []
    ends = {loaded.tokenizer.eos_token_id, loaded.model.generation_config.eos_token_id}
    while len(new) < most and len(ids) < 64:
        token = int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token in ends:
            break
        ids.append(token)
        new.append(token)
        if rule.stops and rule.complete(loaded.tokenizer.decode(new)):
            break
    text: str = loaded.tokenizer.decode(new, skip_special_tokens=True)
    return text


def assert_batch_is_one_by_one(made: Any, loaded: LoadedModel, examples: Sequence[Any]) -> tuple[list[float], Any]:
    """(losses, correct) of a batch, seen to be those of its examples alone."""
    with torch.no_grad():
        losses, correct = made.losses(loaded, examples), made.correct(loaded, examples)
        assert losses.shape == correct.shape == (len(examples),)
        for i, example in enumerate(examples):
            assert made.losses(loaded, [example]).item() == pytest.approx(losses[i].item(), abs=1e-4)
            assert made.correct(loaded, [example]).item() == pytest.approx(correct[i].item(), abs=1e-6)
    return losses.tolist(), correct.tolist()


@pytest.mark.parametrize(("config", "words"), WRITERS)
def test_generation(root: Path, config: str, words: str) -> None:
    loaded = language_model(config, words, max_position_embeddings=64)
    generation = made(root, "generation", prompt="{question}", max_new_tokens=9)
    examples = generation.select(loaded, Split.PROBE)
    assert len(examples) == 8
    assert len({generation.size(loaded, e) for e in examples}) > 5
    losses, _ = assert_batch_is_one_by_one(generation, loaded, examples)
    for example, loss in zip(examples, losses, strict=True):
        assert loss == pytest.approx(-np.mean(log_likelihoods(loaded, example.prompt, example.answer)), abs=1e-4)
    for rule in (generation.rule, Vowel()):
        generation.rule = rule
        with torch.no_grad():
            texts = generation.generate(loaded, examples)
            assert texts == [generation.generate(loaded, [example])[0] for example in examples]
        assert texts == [written(loaded, e.prompt, 9, rule) for e in examples]
    assert len(set(texts)) > 2


class Vowel(AnswerRule):
    """A text is complete at its first vowel: some end early, whatever a random model writes."""

    stops = True

    def find(self, text: str) -> str | None:
        return text[-1:] or None

    def complete(self, text: str) -> bool:
        return any(letter in "aeiou" for letter in text)


@pytest.mark.parametrize("config", ["gpt2", "llama"])
def test_a_text_may_fill_the_context_whatever_is_beside_it(root: Path, config: str) -> None:
    loaded = language_model(config, "bytes", max_position_embeddings=64)
    generation = made(root, "generation", prompt="{question}", max_new_tokens=500, chat="no")
    examples = generation.select(loaded, Split.PROBE)
    with torch.no_grad():
        texts = generation.generate(loaded, examples)
    assert texts == [written(loaded, e.prompt, 500, generation.rule) for e in examples]


def test_what_the_model_writes_is_right_where_the_rule_finds_the_reference(root: Path, tmp_path: Path) -> None:
    loaded = language_model("llama", "bytes")
    asking = made(root, "generation", prompt="{question}", max_new_tokens=4)
    examples = asking.select(loaded, Split.PROBE)
    with torch.no_grad():
        texts = asking.generate(loaded, examples)
    told = [
        {"question": e.prompt, "answer": text.strip() if i % 2 else "something else"}
        for i, (e, text) in enumerate(zip(examples, texts, strict=True))
    ]
    assert all(row["answer"] for row in told)
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", told)
    again = made(tmp_path, "generation", prompt="{question}", max_new_tokens=4)
    found = again.select(loaded, Split.TEST)
    assert again.correct(loaded, found).tolist() == [e.answer != "something else" for e in found]


@pytest.mark.parametrize("score", ["mean", "sum", "letter"])
@pytest.mark.parametrize(("config", "words"), WRITERS)
def test_multiple_choice(root: Path, config: str, words: str, score: str) -> None:
    loaded = language_model(config, words, max_position_embeddings=200)
    prompt = "{question}\n{choices}\nAnswer:" if score == "letter" else "{question}"
    choosing = made(
        root,
        "multiple-choice",
        prompt=prompt,
        choices_column="options",
        key="right",
        score=score,
        system="Choose.",
    )
    examples = choosing.select(loaded, Split.PROBE)
    assert {len(e.endings) for e in examples} == {2, 3, 4}
    losses, correct = assert_batch_is_one_by_one(choosing, loaded, examples)
    for example, loss, right in zip(examples, losses, correct, strict=True):
        if score == "letter":
            lines = [f"{letter}. {choice}" for letter, choice in zip("ABCD", example.choices, strict=False)]
            assert example.prompt.endswith("\n".join(lines) + "\nAnswer:")
            assert example.endings == tuple("ABCD"[: len(lines)])
        each = [log_likelihoods(loaded, example.prompt, ending, "Choose.") for ending in example.endings]
        assert loss == pytest.approx(-np.mean(each[example.right]), abs=1e-4)
        totals = [np.sum(one) if score == "sum" else np.mean(one) for one in each]
        assert right == (int(np.argmax(totals)) == example.right)


@pytest.mark.parametrize(("config", "words"), WRITERS)
def test_language_modelling(tmp_path: Path, config: str, words: str) -> None:
    loaded = language_model(config, words)
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", [{"text": text * (1 + i)} for i, text in enumerate(TEXTS)])
    modelling = made(tmp_path, "language-modelling", window=16)
    examples = modelling.select(loaded, Split.PROBE)
    assert loaded.tokenizer is not None
    tokens = [loaded.tokenizer(row["text"])["input_ids"] for row in modelling.table("train").rows]
    windows = [tuple(one[i : i + 16]) for one in tokens for i in range(0, len(one), 16)]
    assert sorted(e.tokens for e in examples) == sorted(window for window in windows if len(window) > 1)
    chosen = sorted(examples, key=lambda e: len(e.tokens))[:4] + list(examples[:4])
    losses, shares = assert_batch_is_one_by_one(modelling, loaded, chosen)
    for example, loss, share in zip(chosen, losses, shares, strict=True):
        ids = torch.tensor(example.tokens)
        with torch.no_grad():
            logits = loaded.model(input_ids=ids[None]).logits[0, :-1]
        assert loss == pytest.approx(functional.cross_entropy(logits, ids[1:]).item(), abs=1e-4)
        assert share == pytest.approx((logits.argmax(-1) == ids[1:]).double().mean().item())


CLASSIFIERS = {
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "gpt2": "GPT2ForSequenceClassification",
    "llama": "LlamaForSequenceClassification",
}


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("config", CLASSIFIERS)
def test_text_classification(tmp_path: Path, config: str, pairs: bool) -> None:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    told_types = config in ("bert", "distilbert")  # DistilBERT's may tell them; the model knows none
    words = tokenizer(bos=config != "gpt2", eos=config != "gpt2", model_input_names=names if told_types else names[::2])
    loaded = model(CONFIGS[config], words, architectures=[CLASSIFIERS[config]], num_labels=3)
    assert loaded.anatomy.auto_class == "AutoModelForSequenceClassification"
    told = [{"text": row["question"], "other": row["answer"], "label": i % 3} for i, row in enumerate(rows())]
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", told)
    classifying = made(tmp_path, "text-classification", **({"pair": "other"} if pairs else {}))
    classifying.check(loaded)
    examples = classifying.select(loaded, Split.PROBE)
    assert len({classifying.size(loaded, e) for e in examples}) > 4
    losses, correct = assert_batch_is_one_by_one(classifying, loaded, examples)
    guesses = set()
    for example, loss, right in zip(examples, losses, correct, strict=True):
        ids = words(example.text, example.pair, return_tensors="pt")
        known = names if config == "bert" else names[::2]
        with torch.no_grad():
            logits = loaded.model(**{name: ids[name] for name in known}).logits[0]
        guesses.add(int(logits.argmax()))
        assert loss == pytest.approx(-logits.log_softmax(-1)[example.number].item(), abs=1e-4)
        assert right == (int(logits.argmax()) == example.number)
        assert (example.pair is not None) == pairs


@pytest.mark.parametrize("config", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("pad", [0, 1])
def test_a_text_may_be_as_long_as_the_model_can_read_and_no_longer(tmp_path: Path, config: str, pad: int) -> None:
    words = tokenizer("words", model_max_length=10**30)
    changes: dict[str, Any] = {
        "architectures": [CLASSIFIERS[config]],
        "max_position_embeddings": 20,
        "pad_token_id": pad,
    }
    loaded = model(CONFIGS[config], words, **changes)
    for split in ("train", "test"):
        jsonl(tmp_path / f"{split}.jsonl", [{"text": "cat " * n, "label": n % 2} for n in range(15, 25)])
    classifying = made(tmp_path, "text-classification", on_bad="skip")
    classifying.select(loaded, Split.PROBE)
    for example in classifying.examples(Split.PROBE):
        try:
            classifying.losses(loaded, [example])
        except (IndexError, RuntimeError):
            assert example not in classifying.select(loaded, Split.PROBE)
        else:
            assert example in classifying.select(loaded, Split.PROBE)


def image_model(channels: int = 3, **changes: Any) -> LoadedModel:
    config = type(VIT)(**{**VIT.to_diff_dict(), "num_channels": channels, "num_labels": 4, **changes})
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    return replace(tiny(config), processor=processor, id=f"vit-{channels}")


def pictures(folder: Path, names: Sequence[str] = LETTERS[:4]) -> Path:
    """Two pictures of each class, of several sizes and formats."""
    for split in ("train", "test"):
        for i, name in enumerate([*names, *names]):
            file = folder / split / name / f"{i}.{('png', 'webp', 'bmp')[i % 3]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(i, 7 + i, ("PNG", "WEBP", "BMP")[i % 3]))
    return folder


def test_image_classification(tmp_path: Path) -> None:
    pictures(tmp_path)
    loaded = image_model(id2label=dict(enumerate(LETTERS[:4])))
    classifying = made(tmp_path, "image-classification")
    classifying.check(loaded)
    examples = classifying.select(loaded, Split.PROBE)
    assert sorted(e.label for e in examples) == sorted(LETTERS[:4] * 2)
    losses, correct = assert_batch_is_one_by_one(classifying, loaded, examples)
    assert loaded.processor is not None
    for example, loss, right in zip(examples, losses, correct, strict=True):
        image = PIL.Image.open(example.source).convert("RGB")
        with torch.no_grad():
            logits = loaded.model(**loaded.processor(image, return_tensors="pt")).logits[0]
        number = LETTERS.index(example.source.parent.name)
        assert loss == pytest.approx(-logits.log_softmax(-1)[number].item(), abs=1e-5)
        assert right == (int(logits.argmax()) == number)
    assert len({round(loss, 5) for loss in losses}) == 8
    with pytest.raises(TaskMismatch, match=r"preprocessor_config\.json"):
        classifying.check(replace(loaded, processor=None))


def test_a_model_of_grey_pictures_is_given_grey_ones(tmp_path: Path) -> None:
    pictures(tmp_path)
    loaded = image_model(channels=1)
    loaded = replace(
        loaded,
        processor=transformers.ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.5], image_std=[0.5]),
    )
    classifying = made(tmp_path, "image-classification", match="index")
    examples = classifying.select(loaded, Split.PROBE)
    losses, _ = assert_batch_is_one_by_one(classifying, loaded, examples)
    grey = [PIL.Image.open(e.source).convert("L").resize((8, 8), PIL.Image.Resampling.BILINEAR) for e in examples]
    pixels = torch.stack([torch.tensor(np.asarray(one) / 127.5 - 1, dtype=torch.float32)[None] for one in grey])
    with torch.no_grad():
        logits = loaded.model(pixel_values=pixels).logits
    expected = functional.cross_entropy(logits, torch.tensor([e.number for e in examples]), reduction="none")
    np.testing.assert_allclose(losses, expected, atol=1e-3)


# -- labels -------------------------------------------------------------------------------------

NAMES = ["tabby cat", "hot-dog", "sea_lion", "Zebra"]


@pytest.mark.parametrize(
    ("model_names", "order"),
    [
        (NAMES, [0, 1, 2, 3]),
        (["Zebra", "sea_lion", "hot-dog", "tabby cat"], [3, 2, 1, 0]),
        (["HOT_DOG", "zebra", "Tabby_Cat", "sea lion"], [2, 0, 3, 1]),
        (["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"], [0, 1, 2, 3]),
        (["0", "1", "2", "3"], [0, 1, 2, 3]),
    ],
)
def test_classes_are_matched_by_name_however_they_are_written(
    tmp_path: Path, model_names: list[str], order: list[int]
) -> None:
    pictures(tmp_path, NAMES)
    loaded = image_model(id2label=dict(enumerate(model_names)))
    classifying = made(tmp_path, "image-classification", labels=NAMES)
    examples = classifying.select(loaded, Split.PROBE)
    with torch.no_grad():
        logits = classifying.logits(loaded, examples)
        found = classifying.losses(loaded, examples)
    numbers = torch.tensor([order[NAMES.index(e.source.parent.name)] for e in examples])
    torch.testing.assert_close(found, functional.cross_entropy(logits, numbers, reduction="none"))


def test_classes_by_number(tmp_path: Path) -> None:
    pictures(tmp_path, NAMES)
    others = ["p", "q", "r", "s"]
    loaded = image_model(id2label=dict(enumerate(others)))
    classifying = made(tmp_path, "image-classification", match="index", labels=NAMES)
    classifying.check(loaded)
    assert {(e.source.parent.name, e.number) for e in classifying.examples(Split.PROBE)} == {
        (name, i) for i, name in enumerate(NAMES)
    }


@pytest.mark.parametrize(
    ("model_names", "fields"),
    [(["p", "q", "r", "s"], {}), ([*NAMES[:3], "horse"], {}), (["p", "q", "r"], {"match": "index"})],
)
def test_classes_that_do_not_match_are_told_with_both_lists(
    tmp_path: Path, model_names: list[str], fields: dict[str, Any]
) -> None:
    pictures(tmp_path, NAMES)
    loaded = image_model(num_labels=len(model_names), id2label=dict(enumerate(model_names)))
    classifying = made(tmp_path, "image-classification", **fields)
    for work in (classifying.check, lambda m: classifying.losses(m, classifying.examples(Split.PROBE)[:1])):
        with pytest.raises(TaskMismatch) as caught:
            work(loaded)
        for name in (*NAMES, *model_names):
            assert name in str(caught.value)


def test_a_split_that_lacks_a_class_counts_as_the_other_does(tmp_path: Path) -> None:
    pictures(tmp_path)
    for file in (tmp_path / "test" / "a").iterdir():
        file.unlink()
    loaded = image_model(id2label=dict(enumerate(LETTERS[:4])))
    classifying = made(tmp_path, "image-classification")
    for split in Split:
        for example in classifying.select(loaded, split):
            assert LETTERS[example.number] == example.source.parent.name == example.label


# -- gates of its own for each row --------------------------------------------------------------


def generating(root: Path) -> tuple[Any, LoadedModel]:
    return made(root, "generation", prompt="{question}", max_new_tokens=5), language_model("llama", "bytes")


def choosing(root: Path) -> tuple[Any, LoadedModel]:
    fields = {"prompt": "{question}", "choices_column": "options", "key": "right"}
    return made(root, "multiple-choice", **fields), language_model("gpt2", "bytes")


def modelling(root: Path) -> tuple[Any, LoadedModel]:
    return made(root, "language-modelling", text="question", window=12, on_bad="skip"), language_model("gpt2", "bytes")


def classifying(root: Path) -> tuple[Any, LoadedModel]:
    fields = {"text": "question", "label": "right"}
    config: dict[str, Any] = {"architectures": ["RobertaForSequenceClassification"], "num_labels": 2}
    return made(root, "text-classification", **fields), model(CONFIGS["roberta"], tokenizer(), **config)


@pytest.mark.parametrize("kind", [UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER])
@pytest.mark.parametrize("which", [generating, choosing, modelling, classifying])
@torch.no_grad()
def test_each_row_is_under_its_own_gates(
    root: Path, which: Callable[[Path], tuple[Any, LoadedModel]], kind: UnitKind
) -> None:
    made, loaded = which(root)
    examples = made.select(loaded, Split.PROBE)[:6]
    shapes = loaded.anatomy.shapes
    gates = np.random.default_rng(2).choice([0.0, 1.0, 2.0], (len(examples), *shapes.table(kind)))
    dtype = next(loaded.model.parameters()).dtype
    with gated_each(loaded.model, loaded.anatomy, kind, torch.tensor(gates, dtype=dtype)):
        losses, correct = made.losses(loaded, examples), made.correct(loaded, examples)
        texts = made.generate(loaded, examples) if which is generating else None
    intact = made.losses(loaded, examples)
    for i, example in enumerate(examples):
        with gated(loaded.model, loaded.anatomy, {kind: gates[i].reshape(shapes.of(kind))}):
            assert made.losses(loaded, [example]).item() == pytest.approx(losses[i].item(), abs=1e-4)
            assert made.correct(loaded, [example]).item() == pytest.approx(correct[i].item())
            assert texts is None or made.generate(loaded, [example]) == [texts[i]]
    assert (losses - intact).abs().max() > 1e-3


@pytest.mark.parametrize("which", [generating, choosing, modelling, classifying])
@torch.no_grad()
def test_what_is_said_is_what_is_judged(root: Path, which: Callable[[Path], tuple[Any, LoadedModel]]) -> None:
    made, loaded = which(root)
    examples = made.select(loaded, Split.PROBE)
    said, correct = made.predicted_text(loaded, examples), made.correct(loaded, examples).tolist()
    if which is modelling:
        assert said == [None] * len(examples)
        return
    assert all(isinstance(words, str) for words in said)
    if which is generating:
        assert [made.rule.find(words) == one.expected for words, one in zip(said, examples, strict=True)] == correct
    elif which is choosing:
        assert [words == one.choices[one.right] for words, one in zip(said, examples, strict=True)] == correct
    else:
        assert [words == made.classes[one.number] for words, one in zip(said, examples, strict=True)] == correct


# -- what is asked ------------------------------------------------------------------------------


def test_the_chat_template_is_used_where_it_is_wanted(root: Path) -> None:
    chat, plain = language_model("llama", "chat"), language_model("llama", "bytes")
    for loaded, setting, used in ((chat, "auto", True), (chat, "no", False), (plain, "auto", False)):
        generation = made(root, "generation", prompt="{question}", system="Be brief.", chat=setting)
        example = generation.examples(Split.PROBE)[0]
        ids = generation.continuation(loaded, example).tokens
        text = loaded.tokenizer.decode(ids)
        if used:
            wanted = f"<|system|>Be brief.<|end|><|user|>{example.prompt}<|end|><|assistant|>{example.answer}"
        else:
            bos = "<s>" if loaded is chat else ""
            wanted = f"{bos}Be brief.\n\n{example.prompt} {example.answer}"
        assert text == wanted
    with pytest.raises(TaskMismatch, match="no chat template"):
        made(root, "generation", prompt="{question}", chat="yes").select(plain, Split.PROBE)


def test_a_template_that_knows_no_system_text_has_it_before_the_question(root: Path) -> None:
    loaded = language_model("llama", "chat")
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    loaded.tokenizer.chat_template = refusing + loaded.tokenizer.chat_template
    generation = made(root, "generation", prompt="{question}", system="Be brief.")
    example = generation.examples(Split.PROBE)[0]
    text = loaded.tokenizer.decode(generation.continuation(loaded, example).tokens)
    assert text.startswith(f"<|user|>Be brief.\n\n{example.prompt}<|end|>")


def test_the_answer_alone_counts(root: Path) -> None:
    for words in ("bytes", "bytes with both ends"):
        loaded = language_model("llama", words)
        generation = made(root, "generation", prompt="{question}")
        for example in generation.select(loaded, Split.PROBE):
            continuation = generation.continuation(loaded, example)
            assert loaded.tokenizer.decode(continuation.tokens[continuation.start :]) == f" {example.answer}"
            assert loaded.tokenizer.decode(continuation.tokens[: continuation.start]).endswith(example.prompt)


@pytest.mark.parametrize(
    ("value", "choices", "right"),
    [
        (2, ["0", "2", "4", "6"], 2),  # a number is a place, also where a choice reads the same
        (0, ["1", "0"], 0),
        ("4", ["0", "2", "4", "6"], 2),
        ("B", ["x", "y"], 1),
        ("(b)", ["x", "y"], 1),
        ("b.", ["x", "y"], 1),
        ("y", ["x", "y"], 1),
        ("1", ["x", "y"], 1),
        (" y ", ["x", "y"], 1),
        (True, ["True", "False"], 0),
        ("2", ["0", "2", "4", "6"], None),  # the second by its text, the third by its number
        ("A", ["B", "A"], None),
        (4, ["0", "2", "4", "6"], None),
        (-1, ["x", "y"], None),
        ("C", ["x", "y"], None),
        ("²", ["x", "y"], None),
        ("", ["x", "y"], None),
        (None, ["x", "y"], None),
    ],
)
def test_the_right_choice_is_told_by_number_letter_or_text(
    tmp_path: Path, value: Any, choices: list[str], right: int | None
) -> None:
    jsonl(tmp_path / "a.jsonl", [{"q": "?", "options": choices, "answer": value}])
    fields = {"prompt": "{q}", "choices_column": "options", "source": {"path": "a.jsonl"}}
    parts = {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}
    choosing = made(tmp_path, "multiple-choice", **fields, **parts)
    if right is None:
        with pytest.raises(BadData, match=r"a\.jsonl, row 1"):
            choosing.examples(Split.PROBE)
    else:
        assert choosing.examples(Split.PROBE)[0].right == right


def test_windows_longer_than_the_context_are_refused(root: Path) -> None:
    loaded = language_model("llama", "bytes")
    with pytest.raises(TaskMismatch, match="set `window: 64`"):
        made(root, "language-modelling", text="question").check(loaded)


def test_a_model_of_another_kind_is_refused(root: Path) -> None:
    for kind, fields in (("generation", {"prompt": "{question}"}), ("language-modelling", {"text": "question"})):
        with pytest.raises(TaskMismatch, match="needs a causal language model"):
            made(root, kind, **fields).check(tiny(VIT))
    with pytest.raises(TaskMismatch, match="needs a tokenizer"):
        made(root, "generation", prompt="{question}").check(replace(generating(root)[1], tokenizer=None))


def test_pictures_in_memory_are_read_too() -> None:
    image = Picture(picture(3), 0, None, "here").open()
    assert np.array_equal(np.asarray(image), np.asarray(PIL.Image.open(io.BytesIO(picture(3)))))
