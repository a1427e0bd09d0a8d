"""Print figures of the product without its benchmarks, and of the tests. Run it at the root of a checkout.

Largest folder, longest functions and files, numbers of tests and assertions.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
from collections import Counter
from pathlib import Path

PACKAGES = ("modelshapley", "backend", "workers", "frontend")


def python_files() -> list[Path]:
    """Return the committed Python files."""
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.splitlines()]


def functions(path: Path) -> list[tuple[int, str]]:
    """Return (lines, name) of each function in a file."""
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.name}")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main() -> None:
    files = python_files()
    product = [path for path in files if path.parts[0] in PACKAGES]
    tests = [path for path in files if path.parts[0] == "tests"]
    folder, count = Counter(path.parent for path in product).most_common(1)[0]
    lengths = sorted((entry for path in product for entry in functions(path)), reverse=True)
    print(f"largest folder: {folder}, {count} files")
    print(f"functions: {len(lengths)}, median {statistics.median(length for length, _ in lengths)} lines")
    print("longest:", *(f"{name} ({length})" for length, name in lengths[:5]))
    print("longest files:", *sorted(((len(p.read_text().splitlines()), str(p)) for p in product), reverse=True)[:5])
    nodes = [node for path in tests for node in ast.walk(ast.parse(path.read_text()))]
    named = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    print(f"tests: {len(named)} functions, {sum(isinstance(node, ast.Assert) for node in nodes)} assertions")


if __name__ == "__main__":
    main()
