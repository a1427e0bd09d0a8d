"""Distributions of this project, and environments that hold a package with exactly what it declares."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist from the files that git knows, and the wheel from the sdist. Returns both."""
    source, unpacked = folder / "source", folder / "unpacked"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    sdist = folder / _backend("build_sdist", source, folder)
    unpacked.mkdir()
    subprocess.run(["tar", "-xzf", sdist, "-C", unpacked, "--strip-components", "1"], check=True)
    return sdist, folder / _backend("build_wheel", unpacked, folder)


def _backend(hook: str, source: Path, out: Path) -> str:
    """Call a hook of PEP 517 as pip would, with the setuptools of this environment. Returns the file's name."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.{hook}(sys.argv[1]), file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", code, out], cwd=source, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stderr.split()[-1]


def environment(folder: Path, wheel: Path, extras: Iterable[str] = ()) -> Path:
    """Make a virtual environment with the wheel and links to what it requires, directly or not. Returns its Python.

    It installs nothing from an index, so it takes seconds; a package that the wheel does not declare is not there.
    """
    python, packages = _empty(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (installed,) = [Distribution.at(info) for info in packages.glob("modelshapley-*.dist-info")]
    _link(packages, required(installed, extras))
    return python


def environment_of(folder: Path, *names: str) -> Path:
    """Make a virtual environment with links to these distributions and what they require. Returns its Python."""
    python, packages = _empty(folder)
    _link(packages, {*names}.union(*(required(distribution(name)) for name in names)))
    return python


def _empty(folder: Path) -> tuple[Path, Path]:
    """Make a virtual environment without packages; return its Python and its site-packages."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    return folder / "bin" / "python", packages


def _link(packages: Path, names: Iterable[str]) -> None:
    for name in names:
        for top in tops(distribution(name)):
            if not (packages / top.name).exists():
                (packages / top.name).symlink_to(top)


def required(package: Distribution, extras: Iterable[str] = ()) -> set[str]:
    """Names of the distributions that a package requires here, and those that these require."""
    found: set[str] = set()
    waiting = [(package, frozenset(extras))]
    done = set()
    while waiting:
        one, wanted = waiting.pop()
        if (one.name, wanted) in done:
            continue
        done.add((one.name, wanted))
        for requirement in map(Requirement, one.requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (wanted or {""})):
                found.add(requirement.name)
                waiting.append((distribution(requirement.name), frozenset(requirement.extras)))
    return found


def tops(package: Distribution) -> set[Path]:
    """Files and folders of a distribution that lie directly in site-packages."""
    root = Path(str(package.locate_file("")))
    names = {Path(str(file)).parts[0] for file in package.files or []}
    return {root / name for name in names if name not in ("..", "__pycache__", "/")}


def run_alone(folder: Path, *packages: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python with some arguments where only these packages are installed.

    It runs in a folder that holds our library and the benchmarks, without what surrounds the tests: PYTHONPATH would
    bring this environment's packages back.
    """
    python, carried = environment_of(folder / "venv", *packages), folder / "carried"
    carried.mkdir()
    for package in ("modelshapley", "benchmarks"):
        (carried / package).symlink_to(ROOT / package)
    surroundings = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(folder)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), *arguments]
        return subprocess.run(command, cwd=carried, env=surroundings, capture_output=True, text=True, timeout=120)

    return run
