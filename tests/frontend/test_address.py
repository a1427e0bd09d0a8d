"""The address bar: what is written there reads back the same, and what cannot be read is said, not guessed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend import address
from frontend.address import Ranked, View
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

INDEX = st.integers(0, 40)
PAIRS = st.sets(st.tuples(INDEX, INDEX), max_size=60)
DEACTIVATIONS = st.builds(
    lambda neurons, heads, layers: Deactivation.of(
        {UnitKind.NEURON: neurons, UnitKind.HEAD: heads, UnitKind.LAYER: layers}
    ),
    PAIRS,
    PAIRS,
    st.sets(INDEX),
)


def read(text: str) -> View:
    return address.parse(urlsplit(text).query)


@given(DEACTIVATIONS, st.sampled_from(list(UnitKind)))
def test_a_written_view_reads_back_the_same(off: Deactivation, unit: UnitKind) -> None:
    written = address.write("3f9c", View("two-sided", unit, off))
    assert urlsplit(written).path == "/runs/3f9c"
    found = read(written)
    assert (found.off or Deactivation()) == off
    assert (found.method, found.unit, found.unclear) == ("two-sided", unit, ())


@given(DEACTIVATIONS)
def test_the_canonical_key_of_a_deactivation_can_be_read(off: Deactivation) -> None:
    assert (address.parse(f"?off={off.key()}").off or Deactivation()) == off


@given(st.sampled_from(["least", "most"]), st.integers(0, 100), st.sampled_from(list(UnitKind)))
def test_a_share_of_the_ranking_reads_back_the_same(which: str, share: int, unit: UnitKind) -> None:
    ranked = Ranked(which, share / 100, unit, "model-shapley")
    assert read(address.write("a", View(off=ranked))).off == ranked


def test_neighbours_are_written_as_a_range() -> None:
    off = Deactivation.of({UnitKind.HEAD: [(0, 1), (2, 3), (2, 4), (2, 5), (3, 6)], UnitKind.LAYER: [4]})
    assert address.write_off(off) == "head:0.1,2.3-5,3.6;layer:4"


@pytest.mark.parametrize(
    ("off", "part"),
    [
        ("head:0.0,-1.0", "head:-1.0"),
        ("head:0.0;banana:1", "banana:1"),
        ("layer:1.2", "layer:1.2"),
        ("head:3", "head:3"),
        ("layer:5-3", "layer:5-3"),
        ("neuron:0.0-999999", "neuron:0.0-999999"),
        ("layer:99999999999999999999", "layer:99999999999999999999"),
        ("layer:١", "layer:١"),
        ("least:nan:head:two-sided", "least:nan:head:two-sided"),
        ("least:2:head:two-sided", "least:2:head:two-sided"),
        ("most:0.2:rows:two-sided", "most:0.2:rows:two-sided"),
        ("least:0.2", "least:0.2"),
    ],
)
def test_an_unclear_part_is_named_and_nothing_is_switched_off(off: str, part: str) -> None:
    """Half a selection would be another deactivation than the link's."""
    found = address.parse(f"?off={off}")
    assert found.off is None
    assert found.unclear == (f"off={part}",)


def test_an_unclear_unit_is_named_and_the_rest_is_kept() -> None:
    found = address.parse("?method=two-sided&unit=banana&off=layer:1")
    assert found == View("two-sided", None, Deactivation.of({UnitKind.LAYER: [1]}), ("unit=banana",))


@given(st.text(max_size=80))
def test_no_text_at_all_makes_reading_fail(text: str) -> None:
    for found in (address.parse(f"?off={text}"), address.parse(text)):
        assert found.off is None or not found.unclear


@pytest.mark.parametrize(
    ("path", "run"),
    [
        ("/runs/3f9c0a51", "3f9c0a51"),
        ("/runs/a/", "a"),
        ("/runs/", None),
        ("/runs/a/b", None),
        ("/runs/a b", None),
    ],
)
def test_the_run_in_a_path(path: str, run: str | None) -> None:
    assert address.run_of(path) == run


@pytest.mark.parametrize("how", [Treatment("scale", 0.5), Treatment("mean"), Treatment("offset", -2.5), OFF])
def test_what_is_done_to_units_is_written_and_read_the_same(how: Treatment) -> None:
    view = View(off=Deactivation.of({UnitKind.HEAD: [(0, 1)]}), treatment=how)
    written = address.write("a", view)
    assert read(written) == view
    assert ("do=" in written) == (how != OFF)


@pytest.mark.parametrize("text", ["scale:7", "scale:nan", "scale:", "halve:0.5", "offset:much", "mean:1", "x" * 70])
def test_an_unclear_treatment_is_named_and_nothing_is_switched_off(text: str) -> None:
    found = address.parse(f"?off=head:0.1&do={text}")
    assert (found.off, found.treatment) == (None, OFF)
    assert found.unclear == (f"do={text if len(text) <= 60 else text[:60] + ' …'}",)
