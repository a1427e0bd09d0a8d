"""What the browser is given besides our own scripts."""

from __future__ import annotations

from pathlib import Path

from plotly.offline import get_plotlyjs_version

import frontend

ASSETS = Path(frontend.__file__).parent / "assets"


def test_the_part_of_plotly_that_we_serve_is_of_the_version_that_dash_expects() -> None:
    head = (ASSETS / "plotly-cartesian.min.js").read_text(encoding="utf-8")[:400]
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}" in head
    assert "MIT license" in head
