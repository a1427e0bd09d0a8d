"""What MkDocs does besides turning docs/ into pages: README and its neighbours, notebooks and the gallery as pages.

They stay where they are; nothing is written twice. Links that lead to them from anywhere lead to the pages instead.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

from markdown.extensions.toc import slugify_unicode
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "DECISIONS.md": "project/decisions.md",
    "SECURITY.md": "project/security.md",
}
"""{file, from the root of the project: page, from docs/}."""
GALLERY = ROOT / ".gallery"
GALLERY_TEXT = """# Gallery

Reports of real runs of the demo models, each one HTML file, as *Save as one file* and `modelshapley report` write them.
They open without a server or a network. `make gallery` computes the runs and writes the reports anew.

"""
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
ROLE = re.compile(r":(?:func|meth|class|data|attr):<code>~?([^<]+)</code>")


def on_config(config: Any) -> Any:
    """Make anchors as GitHub does, where the same pages are read: each space becomes a hyphen."""
    config.mdx_configs["toc"]["slugify"] = lambda text, separator: slugify(text)
    return config


def slugify(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") or slugify_unicode(heading, "-")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for source, page in PROJECT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text = notebook_text(json.loads(notebook.read_text(encoding="utf-8")))
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=text))
    reports = sorted(GALLERY.glob("*.html"))
    for report in reports:
        files.append(File.generated(config, f"gallery/{report.name}", abs_src_path=str(report)))
    files.append(File.generated(config, "gallery.md", content=gallery_text(reports)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to files of the project at their pages."""
    here = page.file.src_uri
    source = next((name for name, target in PROJECT_PAGES.items() if target == here), None)
    folder = "." if source is not None else dirname(f"docs/{here}")

    def moved(match: re.Match[str]) -> str:
        target = normpath(f"{folder}/{match[2]}")
        aim = PROJECT_PAGES.get(target)
        if aim is None and target.startswith("docs/"):
            aim = re.sub(r"^(notebooks/.+)\.ipynb$", r"\1.md", target.removeprefix("docs/"))
        if aim is None:
            return match[0]
        return f"{match[1]}{relpath(aim, dirname(here) or '.')}{match[3]}"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show names in docstrings as code, without the roles of reStructuredText."""
    return ROLE.sub(r"<code>\1</code>", html)


def notebook_text(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown: its text, its code, and what the code printed or drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "text/html" in data:
                parts.append("".join(data["text/html"]))
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def gallery_text(reports: list[Path]) -> str:
    """Return the page that lists the reports, or says how to make them."""
    lines = [f"- [{title_of(report)}](gallery/{report.name})" for report in reports]
    empty = ["None are built into this copy of the site: run `make gallery`, then `make docs`."]
    return GALLERY_TEXT + "\n".join(lines or empty) + "\n"


def title_of(report: Path) -> str:
    found = re.search(r"<title>([^<]+)</title>", report.read_text(encoding="utf-8")[:20_000])
    return found[1] if found else report.stem
