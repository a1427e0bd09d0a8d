"""What the browser is given besides our own scripts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from plotly.offline import get_plotlyjs_version

import frontend
from tests.support.in_process import serving

ASSETS = Path(frontend.__file__).parent / "assets"


def test_the_part_of_plotly_that_we_serve_is_of_the_version_that_dash_expects() -> None:
    head = (ASSETS / "plotly-cartesian.min.js").read_text(encoding="utf-8")[:400]
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}" in head
    assert "MIT license" in head


def test_no_figure_offers_to_upload_itself() -> None:
    """plotly.js has a button "Share chart...", which is on unless a figure's config says otherwise."""
    assert "sendChartToCloud" in (ASSETS / "plotly-cartesian.min.js").read_text(encoding="utf-8")
    scripts = [file for file in ASSETS.glob("*.js") if "Plotly.react(" in file.read_text(encoding="utf-8")]
    assert [file.name for file in scripts if file.name != "plotly-cartesian.min.js"] == ["figure.js"]
    assert "showSendToCloud: false" in (ASSETS / "figure.js").read_text(encoding="utf-8")
    graphs = 0
    for file in ASSETS.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "dcc.Graph":
                config = {keyword.arg: keyword.value for keyword in node.keywords}["config"]
                assert ast.literal_eval(config)["showSendToCloud"] is False, file
                graphs += 1
    assert graphs >= 4


def test_scripts_and_fonts_are_kept_by_the_browser_and_compressed(tmp_path: Path) -> None:
    with serving(tmp_path) as http:
        page = http.get("/").text
        (script,) = re.findall(r'src="(/assets/live\.js\?m=[^"]+)"', page)
        for address in (script, "/assets/inter-latin.woff2"):
            assert http.get(address).headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "cache-control" not in http.get("/assets/live.js").headers
        assert http.get(script, headers={"Accept-Encoding": "br"}).headers["content-encoding"] == "br"
        assert "Loading the dashboard" in page


def test_plotly_loads_only_when_something_asks_for_it(tmp_path: Path) -> None:
    with serving(tmp_path) as http:
        page = http.get("/").text
        assert 'src="/assets/plotting.js' in page
        assert 'src="/assets/plotly-cartesian' not in page
        (address,) = re.findall(r'<meta name="plotly" content="([^"]+)">', page)
        answer = http.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
