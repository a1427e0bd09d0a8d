"""docker-compose.yml cannot be run on the build machines; its shape is checked here."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from typer.testing import CliRunner

from modelshapley.cli.main import app

ROOT = Path(__file__).parents[2]
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_services_and_their_roles_exist() -> None:
    assert set(COMPOSE["services"]) == {"redis", "web", "worker", "worker-gpu", "postgres", "store"}
    for name in ("web", "worker", "worker-gpu"):
        (role,) = COMPOSE["services"][name]["command"]
        assert CliRunner().invoke(app, [role, "--help"]).exit_code == 0
        assert COMPOSE["services"][name]["environment"]["MODELSHAPLEY_REDIS_URL"].startswith("redis://redis:")


def test_redis_appends_and_every_volume_is_declared() -> None:
    assert "--appendonly" in COMPOSE["services"]["redis"]["command"]
    assert "volatile-lru" in COMPOSE["services"]["redis"]["command"]
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_the_gpu_is_asked_for_only_in_its_profile() -> None:
    gpu = COMPOSE["services"]["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "deploy" not in COMPOSE["services"]["worker"]


def test_the_web_server_is_published_on_loopback_and_needs_a_key() -> None:
    web = COMPOSE["services"]["web"]
    assert web["ports"] == ["127.0.0.1:8050:8050"]
    assert web["environment"]["MODELSHAPLEY_API_KEY"].startswith("${MODELSHAPLEY_API_KEY:?")


def test_the_dockerfile_copies_what_exists() -> None:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_database_and_store_start_in_their_profile_and_web_and_workers_are_told_of_them() -> None:
    for name in ("postgres", "store"):
        assert COMPOSE["services"][name]["profiles"] == ["cluster"]
    (example,) = re.findall(r"```sh\n(MODELSHAPLEY_API_KEY=.*?)```", DEPLOYMENT, re.DOTALL)
    variables = dict(line.split("=", 1) for line in example.splitlines() if "=" in line)
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert set(variables) <= used
    for name in ("web", "worker", "worker-gpu"):
        environment = COMPOSE["services"][name]["environment"]
        assert {"MODELSHAPLEY_DATABASE_URL", "MODELSHAPLEY_STORAGE_URL"} <= set(environment)
    assert "postgres:5432/shapley" in variables["MODELSHAPLEY_DATABASE_URL"]
    assert variables["MODELSHAPLEY_STORAGE_URL"] == "s3://shapley"
