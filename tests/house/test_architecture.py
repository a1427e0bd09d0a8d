"""The house stands as DESIGN says: arrows between the floors, and no torch where none belongs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH_FREE = (
    "backend.web.app",
    "backend.web.estimates",
    "backend.web.housekeeping",
    "backend.store.records",
    "backend.queue.queues",
    "frontend.app",
    "modelshapley.models.catalog",
    "modelshapley.agents.server",
    "modelshapley.client",
    "modelshapley.cli.main",
    "modelshapley.contracts",
    "modelshapley.scoring.footprint",
    "modelshapley.models.hub",
    "modelshapley.maps.importance",
    "modelshapley.evaluation.intervals",
    "modelshapley.methods",
    "modelshapley.maps.parquet",
    "modelshapley.tasks",
    "modelshapley.tasks.catalog",
    "modelshapley.contracts.task_files.file",
    "modelshapley.server.supervisor",
)


def test_imports_go_down_the_floors_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_no_torch_in_any_of_these() -> None:
    code = f"""
import sys
from importlib import import_module
for module in {TORCH_FREE}:
    import_module(module)
    heavy = {{"torch", "transformers"}} & set(sys.modules)
    assert not heavy, f"{{module}} loads {{heavy}}"
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_nothing_pickles_or_trusts_remote_code() -> None:
    banned = ("import pickle", "torch.load(", "trust_remote_code=True", "joblib.load", "yaml.load(", "shell=True")
    for package in ("modelshapley", "backend", "workers", "frontend"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text()
            for words in banned:
                assert words not in text, f"{file.name}: {words}"


def test_only_the_settings_read_the_environment() -> None:
    allowed = {
        "modelshapley/cli/server.py",  # hands its own environment on to the processes it starts
        "frontend/snippets.py",  # writes code that reads it
        "modelshapley/applications/finetuning/parallel.py",  # what launchers of several processes set
    }
    for package in ("modelshapley", "backend", "workers", "frontend"):
        for file in (ROOT / package).rglob("*.py"):
            if str(file.relative_to(ROOT)) not in allowed:
                assert "os.environ" not in file.read_text(), file
                assert "getenv" not in file.read_text(), file
