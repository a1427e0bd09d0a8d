"""Code that fetches or measures what a page shows: Python, curl, and a notebook of the Python. Pure.

The key comes from the environment variable MODELSHAPLEY_API_KEY, so that no snippet holds one.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from frontend.address import Ranked
from modelshapley.contracts import Off, TrialRequest
from modelshapley.units import OFF, Deactivation, Treatment, UnitKind

KEY = 'os.environ.get("MODELSHAPLEY_API_KEY")'
CURL = 'curl -s -H "Authorization: Bearer $MODELSHAPLEY_API_KEY"'


@dataclass(frozen=True)
class MapName:
    """Which map: of a run, by a method, of one class of examples or of all."""

    run: str
    method: str
    label: str | None = None


@dataclass(frozen=True)
class Snippet:
    """The same in Python and as curl commands. title: of the notebook."""

    title: str
    python: str
    curl: str

    def notebook(self) -> str:
        """Return a notebook (nbformat 4.5): a heading, and the Python as one cell."""
        cells = [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {self.title}"},
            {
                "cell_type": "code",
                "id": "code",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": self.python.rstrip("\n"),
            },
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def of_map(server: str, name: MapName, unit: UnitKind, off: Deactivation | Ranked, treatment: Treatment) -> Snippet:
    """Fetch a map, and measure what its page has switched off."""
    lines = [f"scores = {_fetch(name, unit)}", "print(scores.quantity)", "print(scores.scores)"]
    curl = [_get(server, _map_path(name, unit))]
    request = _trial_request(name.run, off, treatment)
    if request is not None:
        lines += [
            f"trial = client.measure(TrialRequest(**{request!r}))",
            "print(trial.accuracy, trial.interval)",
            "print(trial.difference, trial.difference_interval)",
        ]
        curl.append(_post(server, "/trials", request))
    imports = [] if request is None else ["from modelshapley.contracts import TrialRequest"]
    return Snippet(f"Map of run {name.run}", _script(server, imports, lines), "\n".join(curl) + "\n")


def of_comparison(server: str, maps: Mapping[str, MapName], unit: UnitKind) -> Snippet:
    """Fetch maps, by the names that their page gives them, and correlate their ranks."""
    lines = [
        "maps = {",
        *(f"    {name!r}: {_fetch(which, unit)}," for name, which in maps.items()),
        "}",
        "scores = {name: np.array(one.scores, float).ravel() for name, one in maps.items()}",
        "for (a, x), (b, y) in combinations(scores.items(), 2):",
        "    if x.size != y.size:",
        '        print("not compared, of different shapes:", a, "and", b)',
        "        continue",
        "    both = np.isfinite(x) & np.isfinite(y)",
        '    print("Spearman", spearmanr(x[both], y[both]).statistic, "of", a, "and", b)',
    ]
    curl = "\n".join(_get(server, _map_path(which, unit)) for which in maps.values())
    imports = ["from itertools import combinations", "import numpy as np", "from scipy.stats import spearmanr"]
    return Snippet(" and ".join(maps), _script(server, imports, lines), f"{curl}\n")


def of_derived(server: str, derived: str, title: str, outcome: str = "info") -> Snippet:
    """Fetch what is recorded of a use of a map. outcome: the field that holds what came of it."""
    lines = [
        f"derived = client.derived({derived!r})",
        "print(derived.status, derived.model)",
        f"print(derived.{outcome})",
    ]
    return Snippet(title, _script(server, [], lines), f"{_get(server, f'/derived/{derived}')}\n")


def _script(server: str, imports: Sequence[str], lines: Sequence[str]) -> str:
    standard = [line for line in imports if "itertools" in line]
    own = sorted({"from modelshapley.client import Client", *(line for line in imports if "modelshapley" in line)})
    third_party = [line for line in imports if line not in own and line not in standard]
    body = "".join(f"    {line}\n" for line in lines)
    heads = ["import os", *standard, "", *third_party, *([""] if third_party else []), *own, ""]
    return "\n".join(heads) + f'\nwith Client("{server}", api_key={KEY}) as client:\n{body}'


def _fetch(name: MapName, unit: UnitKind) -> str:
    label = "" if name.label is None else f", label={name.label!r}"
    return f"client.importance_map({name.run!r}, {name.method!r}, {unit.value!r}{label})"


def _map_path(name: MapName, unit: UnitKind) -> str:
    label = "" if name.label is None else f"?class={quote(name.label, safe='')}"
    return f"/runs/{name.run}/maps/{quote(name.method, safe=',=')}/{unit.value}{label}"


def _trial_request(run: str, off: Deactivation | Ranked, treatment: Treatment) -> dict[str, Any] | None:
    """Return the trial's request without its defaults; None where nothing is switched off."""
    if isinstance(off, Ranked):
        chosen: Mapping[str, Any] = vars(off)
    elif len(off):
        chosen = {"off": Off.from_deactivation(off)}
    else:
        return None
    request = TrialRequest(run=run, treatment=treatment, **chosen)
    body = request.model_dump(mode="json", exclude_defaults=True)
    return body if treatment == OFF else body | {"treatment": dict(vars(treatment))}


def _get(server: str, path: str) -> str:
    return f"{CURL} {shlex.quote(f'{server}/api/v1{path}')}"


def _post(server: str, path: str, body: Mapping[str, Any]) -> str:
    data = shlex.quote(json.dumps(body))
    return f"{CURL} -H 'Content-Type: application/json' -d {data} {shlex.quote(f'{server}/api/v1{path}')}"
