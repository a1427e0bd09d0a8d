"""The code that pages offer is valid Python, names the key's variable and no key, and a notebook holds the same."""

from __future__ import annotations

import json
import shlex

import pytest

from frontend import snippets
from frontend.address import Ranked
from frontend.links import server_of
from frontend.snippets import MapName, Snippet
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

SERVER = "http://127.0.0.1:8050"
NAME = MapName("r1", "two-sided,harm=0.25", "a 'quoted' class")
HEADS = Deactivation.of({UnitKind.HEAD: [(0, 1), (2, 3)], UnitKind.LAYER: [(1,)]})
SNIPPETS = [
    snippets.of_map(SERVER, NAME, UnitKind.HEAD, Deactivation(), OFF),
    snippets.of_map(SERVER, NAME, UnitKind.HEAD, HEADS, Treatment("scale", 0.5)),
    snippets.of_map(SERVER, NAME, UnitKind.HEAD, Ranked("least", 0.2, UnitKind.HEAD, "two-sided"), OFF),
    snippets.of_comparison(SERVER, {"it's": NAME, "a · b": MapName("r2", "random")}, UnitKind.NEURON),
    snippets.of_derived(SERVER, "d1", "derived:small"),
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_compiles_and_the_notebook_holds_it(snippet: Snippet) -> None:
    compile(snippet.python, "snippet", "exec")
    assert 'api_key=os.environ.get("MODELSHAPLEY_API_KEY")' in snippet.python
    heading, cell = json.loads(snippet.notebook())["cells"]
    assert heading["source"] == f"# {snippet.title}"
    assert cell["source"] + "\n" == snippet.python
    for line in snippet.curl.splitlines():
        assert shlex.split(line)[0] == "curl"


def test_a_trial_is_asked_for_only_if_units_are_off() -> None:
    intact, chosen, ranked, *_ = SNIPPETS
    assert "TrialRequest" not in intact.python
    assert "'off': {'head': [[0, 1], [2, 3]], 'layer': [1]}" in chosen.python
    assert "'treatment': {'how': 'scale', 'value': 0.5}" in chosen.python
    assert "'which': 'least', 'fraction': 0.2" in ranked.python
    assert "label=\"a 'quoted' class\"" in intact.python


def test_the_server_is_that_of_the_browser() -> None:
    assert server_of("https://lab.org:8443/runs/x?method=y") == "https://lab.org:8443"
