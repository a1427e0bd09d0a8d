"""Rows out of files: what is found where, what is confined, and that no bad row is dropped in silence."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelshapley.contracts.task_files.file import Source
from modelshapley.errors import BadData
from modelshapley.tasks.base import Split
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.tasks.data import BadRow, Table, read_split
from modelshapley.tasks.kinds.data_task import DataTask
from modelshapley.tasks.kinds.image_classification import Picture
from tests.support.task_data import ASK, asked, jsonl, model, picture, task, tokenizer
from tests.support.toys import LLAMA, VIT, tiny

ROWS = asked(4)
ONE_FILE = {"probe": {"split": "all", "share": 0.5}, "test": {"split": "all", "share": 0.5}}

NEARLY_ALL = {"probe": {"split": "all", "share": 0.999}, "test": {"split": "all", "share": 0.001}}


def read(root: Path, split: str = "train", path: str = ".", **source: Any) -> Table:
    return read_split(Source(path=path, **source), "mine", split, [root], confined=True)


def plain(table: Table) -> list[dict[str, Any]]:
    return [dict(table.rows[i]) for i in range(len(table.rows))]


def write_jsonl(file: Path) -> None:
    jsonl(file.with_suffix(".jsonl"), ROWS)


def write_json(file: Path) -> None:
    file.with_suffix(".json").write_text(json.dumps(ROWS))


def write_csv(file: Path) -> None:
    lines = ["question,answer", *(f'"{row["question"]}",{row["answer"]}' for row in ROWS)]
    file.with_suffix(".csv").write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())


def write_parquet(file: Path) -> None:
    datasets.Dataset.from_list(ROWS).to_parquet(file.with_suffix(".parquet"))


WRITERS = [write_jsonl, write_json, write_csv, write_parquet]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    "place", ["train", "data/train", "train/part", "train-00000-of-00001", "data/train-0", "training"]
)
def test_a_split_is_found_in_every_format_and_place(tmp_path: Path, write: Callable[[Path], None], place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file)
    table = read(tmp_path)
    assert plain(table) == ROWS
    assert table.columns() == ["question", "answer"]
    assert table.column("answer") == [row["answer"] for row in ROWS]
    assert table.column("none") == [None] * len(ROWS)
    assert len({table.place(i) for i in range(len(ROWS))}) == len(ROWS)


@pytest.mark.parametrize("write", WRITERS)
def test_one_file_is_one_split(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "mine [1] {a} *")  # characters that patterns of file names are made of
    (file,) = tmp_path.iterdir()
    assert plain(read(tmp_path, "all", file.name)) == ROWS
    with pytest.raises(BadData, match="split: all"):
        read(tmp_path, "train", file.name)


def test_text_is_split_at_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\nstill one\r\n\r\n\n\ntwo\n")
    assert plain(read(tmp_path, "all", "a.txt")) == [{"text": "one\nstill one"}, {"text": "two"}]


def test_json_that_is_an_object_has_its_rows_in_a_field(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"licence": "MIT", "examples": ROWS}))
    assert plain(read(tmp_path, "all", "a.json")) == ROWS
    file.write_text(json.dumps({"easy": ROWS, "hard": ROWS[:1]}))
    assert plain(read(tmp_path, "all", "a.json", field="hard")) == ROWS[:1]
    for field in (None, "medium"):
        with pytest.raises(BadData, match="easy, hard"):
            read(tmp_path, "all", "a.json", field=field)
    for text, words in (("{}", "no list"), ("3", "list of rows"), ("[1, ", "not JSON")):
        file.write_text(text)
        with pytest.raises(BadData, match=words):
            read(tmp_path, "all", "a.json")


def test_shards_are_read_in_order_and_rows_tell_their_file(tmp_path: Path) -> None:
    for shard in (1, 0):
        jsonl(tmp_path / f"train-0000{shard}-of-00002.jsonl", ROWS[2 * shard : 2 * shard + 2])
    table = read(tmp_path)
    assert plain(table) == ROWS
    assert table.place(2) == "train-00001-of-00002.jsonl, row 1"


def test_files_of_the_same_name_in_folders_of_a_split_tell_which(tmp_path: Path) -> None:
    for folder in "ab":
        jsonl(tmp_path / "train" / folder / "x.jsonl", ["{", ROWS[0]])
    table = read(tmp_path)
    assert [bad.where for bad in table.bad] == ["a/x.jsonl, row 1", "b/x.jsonl, row 1"]


def test_another_file_or_config_is_not_mixed_in(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", ROWS)
    jsonl(tmp_path / "train_old.jsonl", asked(9, 100))
    jsonl(tmp_path / "backup" / "train.jsonl", asked(9, 200))
    jsonl(tmp_path / "hard" / "train.jsonl", asked(2, 300))
    assert plain(read(tmp_path)) == ROWS
    hub = Source(hub="a/b", config="hard")
    assert plain(read_split(hub, tmp_path.name, "train", [tmp_path.parent], True)) == asked(2, 300)


def test_other_names_of_splits(tmp_path: Path) -> None:
    jsonl(tmp_path / "val.jsonl", ROWS)
    assert plain(read(tmp_path, "validation")) == ROWS
    jsonl(tmp_path / "validation.jsonl", ROWS[:1])
    assert plain(read(tmp_path, "validation")) == ROWS[:1]


def test_a_split_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(BadData, match=r"no split 'test'.*It holds: train\.jsonl"):
        read(tmp_path, "test")
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadData, match="mixes files"):
        read(tmp_path)


@pytest.mark.parametrize("write", WRITERS)
def test_the_digest_is_of_the_content_wherever_it_lies(tmp_path: Path, write: Callable[[Path], None]) -> None:
    one, other = tmp_path / "one", tmp_path / "other name"
    one.mkdir()
    write(one / "train")
    shutil.copytree(one, other)
    assert read(one).digest == read(other).digest
    ROWS[1]["answer"], before = "7", ROWS[1]["answer"]
    try:
        write(other / "train")
    finally:
        ROWS[1]["answer"] = before
    assert read(one).digest != read(other).digest


NO_NAMES = ["a\0b", "x" * 999, "loop"]


@pytest.mark.parametrize("path", ["{outside}", "../outside", "link", "inside/../../outside", *NO_NAMES])
def test_nothing_outside_the_roots_is_read(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    jsonl(outside / "train.jsonl", ROWS)
    (root / "inside").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(BadData, match="There is no file or folder"):
        read(root, path=path.format(outside=outside))
    if path not in NO_NAMES:
        found = read_split(Source(path=path.format(outside=outside)), "mine", "train", [root], confined=False)
        assert plain(found) == ROWS


def test_folders_of_pictures(tmp_path: Path) -> None:
    for place, split in (
        ("train/cat/1.png", 0),
        ("train/dog/2.JPG", 1),
        ("train/train/deep/3.webp", 2),
        ("train/4.png", 3),
    ):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(split))
    (tmp_path / "train" / "cat" / ".hidden.png").write_bytes(b"")
    table = read(tmp_path)
    assert {(row["image"], row["label"]) for row in table.rows} == {
        ("cat/1.png", "cat"),
        ("dog/2.JPG", "dog"),
        ("train/deep/3.webp", "train"),
        ("4.png", None),
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="neither tables"):
        read(tmp_path, "empty")


# -- bad rows -----------------------------------------------------------------------------------

GOOD = asked(6)
SURROGATE = b'{"question": "caf\xe9", "answer": "x"}'
BAD_LINES = {
    "not JSON": ('{"question": "a", ', "is not JSON"),
    "no object": ('["question"]', "not an object"),
    "a text": ('"question"', "not an object"),
    "no answer": ('{"question": "a", "answer": null}', "nothing in column 'answer'"),
    "blank": ('{"question": "  ", "answer": "1"}', "nothing in column 'question'"),
    "no text": ('{"question": ["a"], "answer": "1"}', "no text but a list"),
    "not UTF-8": (SURROGATE.decode(errors="surrogateescape"), "not UTF-8"),
}


def with_bad(tmp_path: Path, line: str, first: bool, on_bad: str) -> Any:
    lines = [json.dumps(row) for row in GOOD]
    lines.insert(0 if first else 3, line)
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    return task(tmp_path, source={"path": "a.jsonl"}, on_bad=on_bad, **NEARLY_ALL)


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_row_is_named_counted_and_never_dropped_in_silence(tmp_path: Path, name: str, first: bool) -> None:
    line, reason = BAD_LINES[name]
    number = 1 if first else 4
    with pytest.raises(BadData, match=f"1 row: .*{reason}.*a.jsonl, row {number}\\).*on_bad: skip"):
        with_bad(tmp_path, line, first, "stop").examples(Split.PROBE)
    going_on = with_bad(tmp_path, line, first, "skip")
    examples = going_on.examples(Split.PROBE)
    (skipped_rows,) = going_on.skipped_rows(None, Split.PROBE)
    assert reason in skipped_rows.reason
    assert (skipped_rows.count, skipped_rows.rows) == (1, [f"a.jsonl, row {number}"])
    assert {example.answer for example in examples} == {row["answer"] for row in GOOD}
    assert len(examples) + skipped_rows.count == len(GOOD) + 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([None, *BAD_LINES]), min_size=1, max_size=30), st.integers(0, 5))
def test_good_and_left_out_are_all_rows_that_were_met(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str | None], seed: int
) -> None:
    root = tmp_path_factory.mktemp("data")
    kinds = [*kinds, None]
    lines = [BAD_LINES[kind][0] if kind else json.dumps(asked(1, i)[0]) for i, kind in enumerate(kinds)]
    for name in ("train", "test"):
        (root / f"{name}.jsonl").write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    made = task(root, probe={"split": "train"}, test={"split": "test"}, on_bad="skip")
    for split, name in ((Split.PROBE, "train"), (Split.TEST, "test")):
        good = {example.where for example in made.examples(split, seed)}
        assert good == {f"{name}.jsonl, row {i}" for i, kind in enumerate(kinds, 1) if kind is None}
        assert len(good) + sum(bad.count for bad in made.skipped_rows(None, split, seed)) == len(lines)


def test_csv_rows_of_other_lengths(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nwhat?,1\nwhat, then?,2\nwhat?\nwhat?,4\n")
    made = task(tmp_path, source={"path": "a.csv"}, on_bad="skip", **NEARLY_ALL)
    assert sorted(e.answer for e in made.examples(Split.PROBE)) == ["1", "4"]
    told = {bad.reason: bad.rows for bad in made.skipped_rows(None, Split.PROBE)}
    assert told == {
        "has more fields than the header": ["a.csv, row 2"],
        "nothing in column 'answer'": ["a.csv, row 3"],
    }


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", ""), ("a.json", "[]"), ("a.csv", "question,answer\n"), ("a.txt", "\n")]
)
def test_an_empty_split_is_told(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadData, match="Split 'all' of task 'mine' is empty"):
        task(tmp_path, source={"path": name}, **ONE_FILE).examples(Split.PROBE)


def test_an_empty_parquet_file_and_a_broken_one(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).select([]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadData, match="is empty"):
        task(tmp_path, source={"path": "a.parquet"}, **ONE_FILE).examples(Split.PROBE)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(BadData, match="cannot be read"):
        task(tmp_path, source={"path": "b.parquet"}, **ONE_FILE).examples(Split.PROBE)


@pytest.mark.parametrize(
    ("fields", "column"),
    [({"prompt": "{questoin}"}, "questoin"), ({"answer": "{b}"}, "b"), ({"classes": "subjct"}, "subjct")],
)
@pytest.mark.parametrize("write", WRITERS)
def test_a_missing_column_is_told_with_those_that_are_there(
    tmp_path: Path, write: Callable[[Path], None], fields: dict[str, Any], column: str
) -> None:
    write(tmp_path / "a")
    (file,) = tmp_path.iterdir()
    with pytest.raises(BadData, match=f"has no column '{column}'; it has question, answer"):
        task(tmp_path, source={"path": file.name}, **ONE_FILE, **fields).examples(Split.PROBE)


def test_an_answer_that_no_rule_finds(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"question": "q", "answer": f"so #### {i}" if i else "so it is"} for i in range(4)])
    made = task(tmp_path, source={"path": "a.jsonl"}, rule="gsm8k", on_bad="skip", **NEARLY_ALL)
    assert len(made.examples(Split.PROBE)) == 3
    (skipped_rows,) = made.skipped_rows(None, Split.PROBE)
    assert "rule 'gsm8k' finds no answer" in skipped_rows.reason
    assert skipped_rows.rows == ["a.jsonl, row 1"]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (7, "class number 7 is not among the 2"),
        (-1, "class number -1"),
        ("hm", "class 'hm'"),
        (None, "nothing in"),
        ("", "nothing in"),
        ([1], "[1] in column 'label' is neither"),
        ("²", "class '²'"),
        ("9" * 5000, "class '999"),
    ],
)
def test_a_label_outside_the_classes(tmp_path: Path, label: Any, reason: str) -> None:
    kind = {
        "kind": "text-classification",
        "labels": ["bad", "good"],
        "source": {"path": "a.jsonl"},
        "on_bad": "skip",
    }
    rows = [{"text": "fine", "label": value} for value in ("good", 0, "1", True, "bad")]
    jsonl(tmp_path / "a.jsonl", [*rows, {"text": "odd", "label": label}])
    made = task(tmp_path, kind, on_bad="skip", **NEARLY_ALL)
    by_row = {e.where: e.number for e in made.examples(Split.PROBE)}
    assert by_row == {f"a.jsonl, row {i + 1}": number for i, number in enumerate([1, 0, 1, 1, 0])}
    (skipped_rows,) = made.skipped_rows(None, Split.PROBE)
    assert skipped_rows.reason.startswith(reason)
    assert skipped_rows.rows == ["a.jsonl, row 6"]
    assert len(skipped_rows.reason) < 200


def test_many_reasons_do_not_flood_a_message(tmp_path: Path) -> None:
    kind = {"kind": "text-classification", "labels": ["a", "b"], "source": {"path": "a.jsonl"}}
    jsonl(tmp_path / "a.jsonl", [{"text": "t", "label": "x" * i} for i in range(2, 400)])
    with pytest.raises(BadData) as caught:
        task(tmp_path, kind, **NEARLY_ALL).examples(Split.PROBE)
    assert len(str(caught.value)) < 5000
    assert "more reasons" in str(caught.value)


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_an_example_longer_than_the_context(tmp_path: Path, on_bad: str) -> None:
    loaded = model(LLAMA, tokenizer())
    rows = [{"question": "cat " * (60 if i == 2 else 2), "answer": "dog"} for i in range(5)]
    jsonl(tmp_path / "a.jsonl", rows)
    made = task(tmp_path, source={"path": "a.jsonl"}, on_bad=on_bad, **NEARLY_ALL)
    assert len(made.examples(Split.PROBE)) == 5
    if on_bad == "stop":
        with pytest.raises(BadData, match=r"longer than the 64 tokens that the model can read \(a.jsonl, row 3\)"):
            made.select(loaded, Split.PROBE)
        return
    assert len(made.select(loaded, Split.PROBE)) == 4
    (skipped_rows,) = made.skipped_rows(loaded, Split.PROBE)
    assert (skipped_rows.count, skipped_rows.rows) == (1, ["a.jsonl, row 3"])


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_broken_picture_and_one_that_is_elsewhere(tmp_path: Path, on_bad: str) -> None:
    root = tmp_path / "root"
    for i in range(4):
        file = root / "pictures" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(i)[: 40 if i == 2 else None])
    (tmp_path / "secret.png").write_bytes(picture(9))
    (root / "pictures" / "link.png").symlink_to(tmp_path / "secret.png")
    paths = [
        "0.png",
        "1.png",
        "2.png",
        "../../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "no.png",
        "",
        "a\0b",
    ]
    jsonl(root / "pictures" / "train.jsonl", [{"image": path, "label": i % 2} for i, path in enumerate(paths)])
    kind = {"kind": "image-classification", "source": {"path": "pictures"}, "on_bad": on_bad}
    made = task(root, kind, probe={"split": "train", "share": 0.999}, test={"split": "train", "share": 0.001})
    loaded = tiny(VIT)
    if on_bad == "stop":
        with pytest.raises(BadData, match="lies outside the folder"):
            made.select(loaded, Split.PROBE)
        return
    assert {e.where for e in made.select(loaded, Split.PROBE)} == {"train.jsonl, row 1", "train.jsonl, row 2"}
    told = {bad.reason: bad.rows for bad in made.skipped_rows(loaded, Split.PROBE)}
    assert sum(map(len, told.values())) == len(paths) - 2
    assert [r for r in told if "cannot be read" in r and told[r] == ["train.jsonl, row 3"]], told
    assert sum("outside" in reason for reason in told) == 3, told


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it can still read
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]),
    st.integers(0, 500),
    st.binary(max_size=6),
    st.booleans(),
)
def test_any_bytes_are_a_picture_or_a_bad_row(kind: str, at: int, noise: bytes, cut: bool) -> None:
    content = picture(0, 12, kind)
    at %= len(content)
    content = content[:at] + noise + (b"" if cut else content[at + len(noise) :])
    with contextlib.suppress(BadRow):
        assert Picture(content, 0, None, "here").open().mode == "RGB"


def test_without_the_hub_the_error_says_within_seconds_which_file_would_do(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(BadData, match=r"train\.parquet, train\.jsonl or train\.csv") as caught:
        task(tmp_path, ASK | {"source": {"hub": "no-such-owner-here/no-such-data"}}).examples(Split.PROBE)
    assert str(tmp_path / "mine") in str(caught.value)
    assert time.monotonic() - start < 15
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_folder_of_a_hub_datasets_name_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path / "no-such-owner-here" / "data" / "train.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadData, match="Hugging Face hub"):
        task(tmp_path, ASK | {"source": {"hub": "no-such-owner-here/data"}}).examples(Split.PROBE)


def test_a_dataset_in_the_cache_is_read_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache as the datasets library leaves it after a download, made out of one of a file."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    jsonl(tmp_path / "rows.jsonl", [{"question": f"{i}+1", "answer": f"#### {i + 1}"} for i in range(10)])
    datasets.load_dataset("json", data_files={"train": str(tmp_path / "rows.jsonl")})
    (made,) = (tmp_path / "cache" / "json").glob("*/*/*/dataset_info.json")
    there = tmp_path / "cache" / "openai___gsm8k" / "main" / "0.0.0" / made.parent.name
    shutil.copytree(made.parent, there)
    (there / "json-train.arrow").rename(there / "gsm8k-train.arrow")
    info = json.loads(made.read_text()) | {"dataset_name": "gsm8k", "config_name": "main"}
    (there / "dataset_info.json").write_text(json.dumps(info))
    gsm8k = TaskCatalog([tmp_path / "nothing"]).load("gsm8k")
    assert isinstance(gsm8k, DataTask)
    assert len(gsm8k.table("train").rows) == 10
    assert gsm8k.examples(Split.PROBE)[0].expected.isdigit()
    with pytest.raises(BadData, match=r"test\.jsonl or test\.csv into .*gsm8k, with columns question, answer"):
        gsm8k.examples(Split.TEST)
