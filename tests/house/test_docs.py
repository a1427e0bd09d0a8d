"""The documents say what is so: their commands are run, their tables compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.settings import Settings
from modelshapley.client import Client
from modelshapley.contracts.task_files.file import parse_text
from modelshapley.methods import METHODS
from modelshapley.tasks import TASKS
from modelshapley.tasks.fields import as_markdown, describe_fields
from tests.conftest import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PACKAGE = r"(modelshapley|backend|workers|frontend)/\w+/__init__\.py"
API_PAGE = (ROOT / "docs" / "api.md").read_text()


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_curl_lines_of_the_api_page_run(server: Server) -> None:
    if not shutil.which("curl"):
        pytest.fail("No curl on this machine; `make test` installs Debian's.")
    (script,) = [block for block in blocks("bash", API_PAGE) if "curl" in block]
    script = script.replace("http://127.0.0.1:8050", server.url)
    answer = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert "event: status" in answer.stdout
    assert "layer,index,score,standard_error" in answer.stdout
    assert '"total":' in answer.stdout


def test_the_client_lines_of_the_api_page_run(server: Server) -> None:
    (script,) = blocks("python", API_PAGE)
    script = script.replace("http://127.0.0.1:8050", server.url)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"0\.983 -> 0\.\d{3}, \(.*\)\n", answer.stdout)


def test_the_python_lines_of_the_readme_run(tmp_path: Path) -> None:
    (script,) = blocks("python")
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"0\.983 -> 0\.\d{3}, \(.*\)\n", answer.stdout)


@pytest.mark.slow
def test_the_python_lines_of_the_page_on_applications_run(tmp_path: Path) -> None:
    script, *_ = blocks("python", (ROOT / "docs" / "apply.md").read_text())  # what follows needs a run on a server
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"13\d,\d{3} of 185,162 parameters, accuracy 0\.\d{3}\n", answer.stdout.splitlines(True)[-1])


@pytest.mark.slow  # loads the language model
def test_the_python_lines_of_the_page_on_prompts_run(tmp_path: Path, prepared_data: Path) -> None:
    (tmp_path / ".data").symlink_to(prepared_data)
    (script,) = blocks("python", (ROOT / "docs" / "try.md").read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert "The capital of France is Paris. | " in answer.stdout  # the other answer has several lines


@pytest.mark.slow  # the command line imports torch in a fresh process
def test_the_serverless_line_of_the_readme_runs(tmp_path: Path) -> None:
    (script,) = [block for block in blocks("bash") if "modelshapley score" in block]
    arguments = script.split()
    assert arguments.pop(0) == "modelshapley"
    subprocess.run([sys.executable, "-m", "modelshapley.cli", *arguments], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "map.safetensors").stat().st_size > 1000


def test_the_readme_links_to_what_exists_and_names_commands_that_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_the_readme_lists_every_package_and_none_that_does_not_exist() -> None:
    section = README.partition("## Packages")[2]
    listed, top = set(), ""
    for indent, name in re.findall(r"^( {4}| {6})([\w.]+/?)  ", section, re.MULTILINE):
        top = name if len(indent) == 4 else top
        listed.add(name if len(indent) == 4 else top + name)
    assert all((ROOT / name).exists() for name in listed), listed
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {f"{file.partition('/')[0]}/" for file in files if "/" in file and not file.startswith(".")}
    packages = {f"{'/'.join(file.split('/')[:2])}/" for file in files if re.fullmatch(PACKAGE, file)}
    assert {name for name in listed if name.endswith("/")} == folders | packages | {
        "modelshapley/assets/",
        "frontend/assets/",
    }


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    documented = set(re.findall(r"^\| `(MODELSHAPLEY_\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert documented == {f"MODELSHAPLEY_{name.upper()}" for name in Settings.model_fields}


def test_every_route_is_documented_and_every_documented_route_exists(server: Server) -> None:
    described = httpx.get(f"{server.url}/api/openapi.json").json()["paths"]
    real = {f"{verb.upper()} /api{path}" for path, verbs in described.items() for verb in verbs}
    documented = set(re.findall(r"^\| `([A-Z]+ /api[^`]*)`", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    assert documented == real


def test_every_method_is_documented() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    assert all(f"`{method}`" in text for method in METHODS)


def test_no_machine_path_and_no_registry_is_committed() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for name in files:
        file = ROOT / name
        if (
            file.suffix in {".py", ".md", ".toml", ".yml", ".txt", ".json", ".js", ".css"}
            and name != "tests/house/test_docs.py"
        ):
            text = file.read_text()
            assert not re.search(r"/work/|/root/|/home/\w+/|pypi\.org|files\.pythonhosted", text), name


def test_the_table_of_architectures_is_that_of_the_code(api: Client) -> None:
    documented = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (\w+) \| (.+?) \| (.+?) \|$",
        (ROOT / "docs" / "architectures.md").read_text(),
        re.MULTILINE,
    )
    real = [(a.model_type, a.title, a.modality, ", ".join(a.classes), ", ".join(a.units)) for a in api.architectures()]
    assert documented == real


TASKS_PAGE = (ROOT / "docs" / "tasks.md").read_text()


def test_the_fields_of_a_task_file_are_documented_as_they_are() -> None:
    for heading, rows in describe_fields().items():
        section = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", TASKS_PAGE, re.MULTILINE | re.DOTALL)
        assert section, heading
        assert as_markdown(rows) in section.group(1), heading


def test_the_task_files_in_the_docs_are_task_files() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", TASKS_PAGE, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        parse_text(example, "docs/tasks.md")


def test_every_task_and_kind_is_documented() -> None:
    for info in TASKS.values():
        assert f"`{info.id}`" in TASKS_PAGE
        assert f"`{info.kind}`" in TASKS_PAGE
