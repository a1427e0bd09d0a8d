"""Files in the storage: what was cut, changed or swapped is named, and what can be computed again is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest

from backend.store.files import DIGEST_BYTES, MARK, Storage
from modelshapley.errors import Damaged
from modelshapley.evaluation.intervals import pack
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind


def a_map(score: float) -> ImportanceMap:
    scores = {UnitKind.HEAD: np.full((4, 4), score)}
    return ImportanceMap("two-sided", "nats", False, scores, scores)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path))
    for run in ("one", "two"):
        storage.save_map(run, a_map(1.0 if run == "one" else 2.0))
        storage.save_sums(run, 1, b"sums of " + run.encode())
        storage.save_intact(run, pack(np.array([True, False])))
    return storage


def flip(data: bytes) -> bytes:
    """Change one bit in the middle of the last score, where the file stays readable."""
    place = data.index(MARK) - 4
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("spoil", [flip, lambda data: data[:100], lambda data: data[:-1], lambda _: b""])
def test_a_spoilt_map_is_named_with_the_way_out(
    storage: Storage, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "runs" / "one" / "two-sided.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(Damaged, match=r"runs/one/two-sided\.safetensors.*Submit the run again"):
        storage.load_map("one", "two-sided")
    assert storage.load_map("two", "two-sided").scores[UnitKind.HEAD][0, 0] == 2.0


def test_swapped_maps_are_noticed(storage: Storage, tmp_path: Path) -> None:
    one, two = (tmp_path / "runs" / run / "two-sided.safetensors" for run in ("one", "two"))
    one.write_bytes(two.read_bytes())
    with pytest.raises(Damaged):
        storage.load_map("one", "two-sided")


def test_what_a_run_can_compute_again_counts_as_missing(storage: Storage, tmp_path: Path) -> None:
    assert storage.load_sums("one", 1) == b"sums of one"
    for name in ("sums-1.safetensors", "intact.npy"):
        file = tmp_path / "runs" / "one" / name
        file.write_bytes(b"x" + file.read_bytes()[1:])
    assert storage.load_sums("one", 1) is None
    assert storage.load_intact("one") is None
    assert storage.load_sums("two", 1) == b"sums of two"


def test_files_of_versions_without_checksums_are_read(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "runs" / "one" / "two-sided.safetensors"
    file.write_bytes(file.read_bytes()[: -len(MARK) - DIGEST_BYTES])
    assert storage.load_map("one", "two-sided").scores[UnitKind.HEAD][0, 0] == 1.0


@pytest.mark.slow  # waits for a store that does not answer
def test_a_store_that_does_not_respond_is_an_error_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://127.0.0.1:1", "key": "a", "secret": "b"})
    storage = Storage("s3://bucket")
    storage._files.retries = 1
    with pytest.raises(OSError, match="the storage does not respond: EndpointConnectionError"):
        storage.save_intact("run", b"answers")
    with pytest.raises(OSError, match="the storage does not respond: EndpointConnectionError"):
        storage.load_intact("run")
