"""The site of the documentation: all links lead somewhere, nothing comes from elsewhere, the reference is complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import modelshapley
from tests.support.packages import ROOT

pytest.importorskip("mkdocstrings", reason="needs the extra docs, which make test-all installs")
LOADED = re.compile(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)|<link[^>]*\shref=\"?([^\s\">]+)")
COPIED = ("mkdocs.yml", "README.md", "CHANGELOG.md", "DECISIONS.md", "SECURITY.md")


def build(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site is made of, in a folder of its own, with one report in the gallery."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copy(ROOT / name, folder)
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "modelshapley").symlink_to(ROOT / "modelshapley")
    (folder / ".gallery").mkdir()
    (folder / ".gallery" / "digits.html").write_text("<html><title>Digits, 3 methods</title></html>")
    return folder


@pytest.mark.slow  # builds the site twice
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(project: Path) -> None:
    built = build(project)
    assert built.returncode == 0, built.stderr
    site = project / ".site"
    pages = {str(file.relative_to(site)): file.read_text() for file in site.rglob("*.html")}
    assert len(pages) > 20
    for name, page in pages.items():
        outside = [url for pair in LOADED.findall(page) for url in pair if re.match(r"(https?:)?//", url)]
        assert not outside, (name, outside)
        assert 'class="mermaid"' not in page, f"{name}: the theme would load mermaid from elsewhere"
    for name in modelshapley.__all__:
        assert re.search(rf'id="modelshapley\.[\w.]+\.{name}"', pages["reference.html"]), name
    assert ":func:" not in pages["reference.html"]
    assert "<svg" in pages["notebooks/reading-a-map.html"]
    assert 'href="gallery/digits.html"' in pages["gallery.html"]
    assert "Digits, 3 methods" in pages["gallery.html"]
    assert 'href="notebooks/reading-a-map.html"' in pages["index.html"]
    assert 'href="project/decisions.html"' in pages["index.html"]
    (project / "docs" / "try.md").write_text("[nowhere](tasks.md#no-such-part)")
    broken = build(project)
    assert broken.returncode == 1
    assert "#no-such-part" in broken.stderr
