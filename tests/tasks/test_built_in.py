"""The tasks that come with the project, on data in the formats of the real ones, put where the catalog looks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from modelshapley.contracts.task_files.file import parse
from modelshapley.errors import TaskMismatch, UnknownName
from modelshapley.methods import load_method
from modelshapley.models.loaded import LoadedModel
from modelshapley.scoring.job import Scoring, accumulate, score
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.infos import built_in_files
from modelshapley.units import UnitKind
from tests.conftest import ROOT
from tests.support.task_data import model, picture, tokenizer
from tests.support.toys import LLAMA
from tests.tasks.test_kinds import image_model

EXCERPTS = ROOT / "tests" / "data"
GROUPS = built_in_files()["mmlu"].groups
SUBJECTS = ["anatomy", "virology", "astronomy", "sociology", "philosophy", "college_physics"]


def load(root: Path, name: str) -> Any:
    return TaskCatalog([root]).load(name)


# -- MMLU ---------------------------------------------------------------------------------------


def test_every_subject_is_in_one_group() -> None:
    """As in the table of Hendrycks et al. 2021; their code, unlike the table, has anatomy under health."""
    assert {name: len(subjects) for name, subjects in GROUPS.items()} == {
        "STEM": 19,
        "humanities": 13,
        "social sciences": 12,
        "other": 13,
    }
    assert len({subject for subjects in GROUPS.values() for subject in subjects}) == 57
    assert built_in_files()["mmlu-choice"].groups == GROUPS


def mmlu(root: Path, name: str, keep: tuple[str, ...] = tuple(SUBJECTS)) -> Path:
    """Files as those of cais/mmlu: answers are numbers of classes A to D; some choices are numbers themselves."""
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "subject": datasets.Value("string"),
            "choices": datasets.List(datasets.Value("string")),
            "answer": datasets.ClassLabel(names=list("ABCD")),
        }
    )
    rows = [
        {
            "question": f"How many are {i} {subject}?",
            "subject": subject,
            "choices": [str((i * k) % 7) for k in (1, 2, 3, 5)] if i % 2 else ["one", "two", "some", "all"],
            "answer": i % 4,
        }
        for i, subject in enumerate(SUBJECTS * 4)
        if subject in keep
    ]
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("validation", "test"):
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return root


@pytest.mark.parametrize("name", ["mmlu", "mmlu-choice"])
def test_mmlu_asks_with_letters_and_knows_the_right_one(tmp_path: Path, name: str) -> None:
    task = load(mmlu(tmp_path, name), name)
    examples = task.examples(Split.PROBE)
    assert len(examples) == 24
    for example in examples:
        number = int(example.prompt.split()[3])
        assert "\nA. " in example.prompt
        right = example.expected if name == "mmlu" else "ABCD"[example.right]
        assert right == "ABCD"[number % 4]
        if name == "mmlu":
            assert example.answer == f"the answer is ({right})"
    assert Counter(task.class_of(e) for e in examples) == dict.fromkeys(SUBJECTS, 4)


@pytest.mark.parametrize("name", ["mmlu", "mmlu-choice"])
def test_classes_and_groups_have_the_maps_of_exactly_their_examples(tmp_path: Path, name: str) -> None:
    loaded = model(LLAMA, tokenizer(), max_position_embeddings=400)
    loaded.model.double()

    def scoring(root: Path) -> Scoring:
        methods = [load_method("two-sided"), load_method("mean-abs")]
        kinds = (UnitKind.HEAD, UnitKind.NEURON)
        return Scoring(loaded, load(root, name), methods, kinds, limit=100, per_class=True)

    job = scoring(mmlu(tmp_path / "all", name))
    sums = accumulate(job)
    of_groups = {"STEM": 12, "humanities": 4, "social sciences": 4, "other": 4}
    assert job.classes(sums) == dict.fromkeys(SUBJECTS, 4) | of_groups
    for label, members in (("STEM", GROUPS["STEM"]), ("other", GROUPS["other"]), ("sociology", ["sociology"])):
        found = job.maps(sums, label)
        alone = score(scoring(mmlu(tmp_path / label, name, tuple(members))))
        for method, expected in alone.items():
            assert found[method].provenance["class"] == label
            assert found[method].provenance["n"] == expected.provenance["n"] == job.classes(sums)[label]
            for kind, values in expected.scores.items():
                np.testing.assert_allclose(
                    found[method].scores[kind], values, rtol=1e-6, atol=1e-9 * np.abs(values).max()
                )
    with pytest.raises(UnknownName):
        job.maps(sums, "alchemy")


# -- pictures -----------------------------------------------------------------------------------

FINE = [f"thing_{i:02}" for i in range(100)]


def test_cifar_100(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "fine_label": datasets.ClassLabel(names=FINE),
            "coarse_label": datasets.ClassLabel(num_classes=20),
        }
    )
    folder = tmp_path / "cifar100"
    folder.mkdir()
    for split, count in (("train", 1000), ("test", 100)):
        rows = [
            {
                "img": {"bytes": picture(i % 50, 4), "path": None},
                "fine_label": (7 * i) % 100,
                "coarse_label": i % 20,
            }
            for i in range(count)
        ]
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{split}.parquet")
    task = load(tmp_path, "cifar100")
    examples = task.examples(Split.PROBE)
    assert Counter(e.label for e in examples) == dict.fromkeys(FINE, 2)
    assert len(task.examples(Split.TEST)) == 100
    assert all(FINE[e.number] == e.label for e in examples)
    shifted = [*FINE[50:], *FINE[:50]]
    loaded = image_model(num_labels=100, id2label=dict(enumerate(shifted)))
    task.check(loaded)
    with torch.no_grad():
        chosen = task.select(loaded, Split.PROBE, limit=20)
        logits, losses = task.logits(loaded, chosen), task.losses(loaded, chosen)
    for row, (example, loss) in enumerate(zip(chosen, losses.tolist(), strict=True)):
        number = shifted.index(example.label)
        assert loss == pytest.approx(-logits[row].log_softmax(-1)[number].item(), abs=1e-5)
    with pytest.raises(TaskMismatch, match="the model has no class 'thing_00', 'thing_01', 'thing_02'"):
        task.check(image_model(num_labels=100, id2label={i: f"other {i}" for i in range(100)}))


def test_imagenet(tmp_path: Path) -> None:
    wnids = ["n01440764", "n01443537", "n01484850", "n01491361"]
    for split, count in (("train", 10), ("val", 3)):
        for wnid in wnids:
            folder = tmp_path / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{wnid}_{i}.JPEG").write_bytes(picture(i, 9 + i, "JPEG"))
    task = load(tmp_path, "imagenet")
    loaded = image_model(id2label=dict(enumerate(["tench", "goldfish", "great white shark", "tiger shark"])))
    task.check(loaded)
    assert Counter(e.label for e in task.select(loaded, Split.PROBE)) == dict.fromkeys(wnids, 2)
    test = task.select(loaded, Split.TEST)
    assert Counter(e.number for e in test) == dict.fromkeys(range(4), 3)
    assert all(e.source.parent.name == wnids[e.number] for e in test)
    assert task.correct(loaded, test).shape == (12,)


# -- GSM8K --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gsm8k() -> Any:
    return load(EXCERPTS, "gsm8k")


def test_gsm8k_has_the_papers_parts_and_an_answer_in_every_row(gsm8k: Any) -> None:
    probe, test = gsm8k.examples(Split.PROBE), gsm8k.examples(Split.TEST)
    assert (len(probe), len(test)) == (30, 50)
    assert gsm8k.skipped_rows(None, Split.PROBE) == gsm8k.skipped_rows(None, Split.TEST) == []
    assert all(e.answer.endswith(f"#### {e.expected}") or "," in e.answer.split("####")[1] for e in probe)
    asked = 'Let\'s think step by step and output the final answer after "####".'
    assert all(e.prompt.endswith(asked) for e in test)
    assert not {e.prompt for e in probe} & {e.prompt for e in test}


def test_gsm8k_on_the_demo_model_is_the_same_in_a_batch_and_alone(gsm8k: Any, smollm2: LoadedModel) -> None:
    gsm8k.check(smollm2)
    examples = sorted(gsm8k.select(smollm2, Split.PROBE, limit=12), key=lambda e: gsm8k.size(smollm2, e))[::3]
    with torch.no_grad():
        losses = gsm8k.losses(smollm2, examples)
    for example, loss in zip(examples, losses.tolist(), strict=True):
        continuation = gsm8k.continuation(smollm2, example)
        ids = torch.tensor(continuation.tokens)
        assert smollm2.tokenizer.decode(ids[continuation.start :]).strip() == example.answer
        with torch.no_grad():
            by_place = smollm2.model(input_ids=ids[None]).logits[0].log_softmax(-1)
        plain = [-by_place[i - 1, ids[i]].item() for i in range(continuation.start, len(ids))]
        assert loss == pytest.approx(np.mean(plain), abs=1e-3)
        assert 0.1 < loss < 5


def test_the_demo_model_writes_the_same_in_a_batch_and_alone(gsm8k: Any, smollm2: LoadedModel) -> None:
    short = gsm8k.__class__(gsm8k.spec.model_copy(update={"max_new_tokens": 12}), [EXCERPTS])
    examples = short.select(smollm2, Split.TEST, limit=4)
    with torch.no_grad():
        texts = short.generate(smollm2, examples)
        assert texts == [short.generate(smollm2, [example])[0] for example in examples]
        assert smollm2.tokenizer is not None
        ids = smollm2.tokenizer(examples[0].prompt, return_tensors="pt")
        if smollm2.tokenizer.chat_template is None:
            own = smollm2.model.generate(**ids, do_sample=False, max_new_tokens=12)[0, ids["input_ids"].shape[1] :]
            assert texts[0] == smollm2.tokenizer.decode(own, skip_special_tokens=True)
    assert all(text.strip() for text in texts)


def test_big_bench_hard_is_read_as_it_is() -> None:
    catalog = TaskCatalog([EXCERPTS])
    spec = {
        "kind": "generation",
        "name": "dates",
        "source": {"path": "bbh/date_understanding.json", "field": "examples"},
        "prompt": "{input}",
        "answer": "{target}",
        "rule": "regex",
        "pattern": r"\(([A-Z])\)",
        "probe": {"split": "all", "share": 0.2},
        "test": {"split": "all", "share": 0.8},
    }
    made = catalog.open(parse(spec, "dates"))
    assert (len(made.examples(Split.PROBE)), len(made.examples(Split.TEST))) == (20, 80)
    assert {e.expected for e in made.examples(Split.TEST)} == set("ABCDEF")
