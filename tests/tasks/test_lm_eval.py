"""Tasks of lm-evaluation-harness become task files that mean the same, or are refused with the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelshapley.contracts.task_files.file import parse_text, to_yaml
from modelshapley.errors import BadTask
from modelshapley.tasks.answers import get_rule
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.lm_eval import Imported, import_task
from tests.support.command_line import run

FILES = Path(__file__).parents[1] / "data" / "lm_eval"


def imported(name: str, **changes: Any) -> Imported:
    task = yaml.safe_load((FILES / f"{name}.yaml").read_text()) | changes
    return import_task(yaml.safe_dump({key: value for key, value in task.items() if value is not None}), name)


def rows(path: Path, values: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def test_multiple_choice_with_splits(tmp_path: Path) -> None:
    found = imported("arc_like")
    spec: Any = found.spec
    assert (found.spec.name, found.spec.title, found.notes) == ("arc-like", "arc_like", [])
    assert found.spec.source.path == "arc"
    for split in ("train", "test"):
        question = {"question": "{Why}?", "options": ["one", "two", "three"], "label": 2}
        rows(tmp_path / "arc" / f"{split}.jsonl", [question] * 5)
    task: Any = TaskCatalog([tmp_path]).open(found.spec)
    (example, *_) = task.examples(Split.TEST)
    assert example.prompt == "Question: {Why}?\nAnswer in {braces}:"
    assert (example.choices, example.right, spec.score) == (("one", "two", "three"), 2, "sum")
    assert (len(task.examples(Split.PROBE)), len(task.examples(Split.TEST))) == (1, 5)


def test_one_file_is_divided_and_it_is_said(tmp_path: Path) -> None:
    found = imported("yes_no")
    assert parse_text(to_yaml(found.spec), "again") == found.spec
    (tmp_path / "yes_no.csv").write_text("question,answer\n" + "".join(f"Is it {n}?,{n % 2}\n" for n in range(10)))
    task: Any = TaskCatalog([tmp_path]).open(found.spec)
    examples = [*task.examples(Split.PROBE), *task.examples(Split.TEST)]
    assert len(examples) == 10
    for example in examples:
        (number,) = re.findall(r"\d", example.prompt)
        assert example.prompt == f"Answer yes or no.\n\nIs it {number}?"
        assert (example.choices, example.right) == (("no", "yes"), int(number) % 2)
    assert [note.split()[0] for note in found.notes] == ["Split", "acc_norm"]


def test_an_answer_whose_tokens_are_all_the_likeliest() -> None:
    spec: Any = imported("last_word").spec
    assert (spec.kind, spec.rule, spec.prompt, spec.answer) == ("generation", "tokens", "{text}", " {word}")
    with pytest.raises(BadTask, match="must begin with one space"):
        imported("last_word", doc_to_target="{{word}}")


@pytest.mark.parametrize(("group_select", "answer"), [(0, "1"), (-1, "22")])
def test_a_regex_takes_the_match_that_the_harness_takes(group_select: int, answer: str) -> None:
    step = {"function": "regex", "regex_pattern": r"#### (\-?[0-9]+)", "group_select": group_select}
    spec: Any = imported("sums", filter_list=[{"name": "a", "filter": [step, {"function": "take_first"}]}]).spec
    assert (spec.kind, spec.rule, spec.max_new_tokens) == ("generation", "regex", 64)
    assert get_rule(spec.rule, spec.pattern).find("So 7.\n#### 1 or\n#### 22, I think") == answer
    assert get_rule(spec.rule, spec.pattern).find("no") is None


def test_a_text_ends_where_the_harness_stops() -> None:
    spec: Any = imported("sums", filter_list=None, generation_kwargs={"until": ["\n", "Q:"]}).spec
    for text in (" Paris\nQ: next", "Paris", "Paris Q: again"):
        assert get_rule(spec.rule, spec.pattern).find(text) == "Paris"
    plain: Any = imported("sums", filter_list=None, generation_kwargs=None).spec
    assert (plain.rule, plain.max_new_tokens) == ("exact", 256)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"doc_to_text": "{{question.strip()}}"}, r"more than \{\{column\}\}: \{\{question.strip\(\)\}\}"),
        ({"doc_to_text": "{% if hint %}{{hint}}{% endif %}"}, r"more than \{\{column\}\}"),
        ({"doc_to_target": "{{choices.index(answer)}}"}, "must be a column"),
        ({"doc_to_choice": "{{choices.text}}"}, "must be a column"),
        ({"doc_to_target": 0}, "must be a column"),
        ({"process_docs": "clean"}, "Python code"),
        ({"metric_list": [{"metric": "f1"}]}, "'f1' has no counterpart"),
        ({"num_fewshot": 5}, "solved examples"),
        ({"output_type": "loglikelihood_rolling"}, "no counterpart"),
        ({"target_delimiter": "\n"}, "only a space can"),
        ({"doc_to_text": "{{question}} "}, "ends with white space"),
        ({"dataset_kwargs": {"trust_remote_code": True}}, "Python code"),
        ({"dataset_kwargs": {"data_files": {"train": "a/x.jsonl", "test": "a/y.jsonl"}}}, "named after its split"),
        ({"test_split": None}, "is needed"),
        ({"include": "base.yaml"}, "copy them"),
        ({"surprise": 1}, "not known here"),
        ({"task": ["a", "b"]}, "one by one"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadTask, match=reason):
        imported("arc_like", **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"generation_kwargs": {"do_sample": True}}, "at random"),
        ({"filter_list": [{"name": "a", "filter": [{"function": "custom"}]}]}, "'custom' has no counterpart"),
        ({"filter_list": [{"name": "a", "filter": [{"function": "regex", "regex_pattern": "(a)(b)"}]}]}, "one group"),
        ({"filter_list": [{"name": "a", "filter": [{"function": "regex", "regex_pattern": "(a"}]}]}, "not a pattern"),
    ],
)
def test_generation_that_has_no_counterpart_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadTask, match=reason):
        imported("sums", **changes)


def test_code_is_refused_and_not_run() -> None:
    text = (
        (FILES / "sums.yaml").read_text().replace("metric_list:", "process_docs: !function utils.clean\nmetric_list:")
    )
    with pytest.raises(BadTask, match=r"runs Python code \(!function utils.clean\)"):
        import_task(text, "sums")
    for bad in ("[1, 2]", "a: [", "task: !!python/object:os.system x"):
        with pytest.raises(BadTask):
            import_task(bad, "bad")


def test_on_the_command_line(tmp_path: Path) -> None:
    done = run("task", "import", str(FILES / "sums.yaml"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert parse_text(done.stdout, "sums") == imported("sums").spec
    assert done.stdout.startswith("# Split 'all' is divided")
    (tmp_path / "group.yaml").write_text("group: many\ntask: [a, b]\n")
    refused = run("task", "import", "group.yaml", cwd=tmp_path)
    assert refused.returncode == 1
    assert "import its tasks one by one" in " ".join(refused.stderr.split())
