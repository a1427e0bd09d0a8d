"""Tasks on the command line: listed, shown, looked at, measured, scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelshapley.contracts.task_files.file import parse_text
from modelshapley.maps.importance import ImportanceMap
from modelshapley.tasks import TASKS, TaskCatalog
from tests.support.command_line import run
from tests.support.task_data import model, tokenizer
from tests.support.toys import LLAMA

EXCERPTS = Path(__file__).parents[1] / "data"
DATES = f"""
kind: multiple-choice
name: dates
source: {{path: {EXCERPTS / "bbh" / "date_understanding.json"}}}
probe: {{split: all, share: 0.1}}
test: {{split: all, share: 0.1}}
prompt: "{{input}}\\nAnswer:"
choices: ["(A)", "(B)", "(C)", "(D)", "(E)", "(F)"]
key: target
"""


def test_tasks_are_listed_and_their_files_are_task_files(tmp_path: Path) -> None:
    listed = run("task", "list", cwd=tmp_path)
    assert all(name in listed.stdout for name in TASKS)
    shown = run("task", "show", "gsm8k", cwd=tmp_path)
    assert parse_text(shown.stdout, "gsm8k") == TaskCatalog().file("gsm8k")
    by_code = run("task", "show", "digits", cwd=tmp_path)
    assert by_code.returncode == 1
    assert "defined in code" in by_code.stderr
    assert "max_new_tokens" in run("task", "fields", cwd=tmp_path).stdout


def test_a_task_file_is_looked_at_measured_and_scored(tmp_path: Path) -> None:
    (tmp_path / "dates.yaml").write_text(DATES)
    words = tokenizer()
    model(LLAMA, words, max_position_embeddings=4096).model.save_pretrained(tmp_path / "tiny")
    words.save_pretrained(tmp_path / "tiny")
    checked = run("task", "check", "dates.yaml", "--model", "tiny", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "10 probe examples, 10 test examples" in checked.stdout
    assert "right: (" in checked.stdout
    score = run(
        *["score", "tiny", "--task", "dates.yaml", "--limit", "2", "--units", "head"],
        *["--out", "m.safetensors"],
        cwd=tmp_path,
    )
    assert score.returncode == 0, score.stderr
    provenance = ImportanceMap.load(tmp_path / "m.safetensors").provenance
    assert (provenance["task"], provenance["n"], provenance["left_out"]) == ("dates", 2, [])
    measured = run(*["evaluate", "tiny", "--task", "dates.yaml", "--limit", "2"], cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert measured.stdout.startswith("accuracy ")
    assert ", n 2\nloss " in measured.stdout


def test_what_would_stop_a_run_is_said_with_its_rows(tmp_path: Path) -> None:
    rows = [{"question": "1+1", "answer": "#### 2"}, {"question": "2+2", "answer": "four"}] * 3
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = tmp_path / "sums.yaml"
    file.write_text(
        "kind: generation\nname: sums\nsource: {path: sums.jsonl}\nprompt: '{question}='\nrule: gsm8k\n"
        "probe: {split: all, share: 0.5}\ntest: {split: all, share: 0.5}\n"
    )
    stopped = run("task", "check", "sums.yaml", cwd=tmp_path)
    assert stopped.returncode == 1
    assert "rule 'gsm8k' finds no answer in the reference (sums.jsonl, row" in stopped.stdout.replace("\n", " ")
    file.write_text(file.read_text() + "on_bad: skip\n")
    skipped = run("task", "check", "sums.yaml", cwd=tmp_path)
    assert skipped.returncode == 0, skipped.stdout
    assert "3 probe examples" not in skipped.stdout
    assert "3 bad" in skipped.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task", "check", "nowhere.yaml"], "cannot be read"),
        (["task", "check", "wrong.yaml"], "promt: Extra inputs are not permitted"),
        (["task", "check", "nothing"], "There is no task 'nothing'"),
        (["evaluate", "demo:digits-vit", "--task", "gsm8k", "--datasets", "none"], "no folder 'none'"),
        (["evaluate", "demo:digits-vit", "--task", "world-capitals"], "needs a causal language model"),
    ],
)
def test_errors_are_words(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("kind: generation\nname: x\nsource: {path: x}\npromt: x\n")
    answer = run(*arguments, cwd=tmp_path)
    assert answer.returncode == 1
    assert words in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.stderr
