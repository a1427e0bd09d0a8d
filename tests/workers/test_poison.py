"""A submission that takes its worker along, or does not stop, ends with a reason, and others' work goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import tokenizers
import transformers

from modelshapley.client import Client
from modelshapley.contracts import Run, RunRequest, Status
from tests.conftest import DIGITS_RUN, Server, StartServer
from tests.support.model_files import CONFIG
from tests.support.short_model import put_short_model
from tests.support.task_data import jsonl

QUICK = DIGITS_RUN.model_copy(update={"methods": ["mean-abs"], "limit": 16, "faithfulness": "none"})
TASK = {"kind": "language-modelling", "window": 8}


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    return start_server()


def pid_at(api: Client, label: str, seconds: float) -> int:
    """The process that works on a run, once one does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for worker in api.workers():
            if (worker.current or "").startswith(label) and worker.pid is not None:
                return worker.pid
        time.sleep(0.02)
    pytest.fail(f"nobody works on {label}")


def another_pid(api: Client, run: Run, known: set[int]) -> int | None:
    """Another process that works on a run, once one does; None if the run ends."""
    until = time.monotonic() + 90
    while not api.run(run.id).status.ended:
        assert time.monotonic() < until
        for worker in api.workers():
            if (
                (worker.current or "").startswith(f"run:{run.id}")
                and worker.pid is not None
                and worker.pid not in known
            ):
                return worker.pid
        time.sleep(0.02)
    return None


def slow_model(folder: Path) -> None:
    """A model whose tokenizer splits texts by a pattern that backtracks for ever."""
    config = transformers.LlamaConfig(**{k: v for k, v in CONFIG.items() if k not in ("model_type", "architectures")})
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    pattern = tokenizers.Regex("(?:a|aa){1,16}b")  # slow at every character, yet below the limit of its engine
    words.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "isolated")
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_that_kills_three_workers_fails_and_others_go_on(house: Server) -> None:
    with Client(house.url) as api:
        api.wait(api.submit_run(QUICK).id)
        run = api.submit_run(RunRequest(model=put_short_model(house.data), task="world-capitals", faithfulness="none"))
        killed: set[int] = set()
        while (pid := another_pid(api, run, killed)) is not None and len(killed) < 9:  # three at each of its stages
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            assert api.wait(api.submit_run(QUICK.model_copy(update={"seed": len(killed)})).id).status is Status.DONE
        failed = api.wait(run.id)
        assert failed.status is Status.FAILED
        assert re.search(r"died [3-9] times", failed.error or "")
        assert api.health().status == "ok"


def submit_poison(api: Client, house: Server, name: str, characters: int, texts: int) -> Run:
    """Submit a run of a slow model on so many texts of this length."""
    if not (house.data / "models" / "slow").exists():
        slow_model(house.data / "models" / "slow")
    rows = [{"text": "abab" + "a" * (characters + number)} for number in range(texts)]  # several tokens
    for part in ("train", "test"):
        jsonl(house.data / "datasets" / name / f"{part}.jsonl", rows)
    api.add_task(json.dumps(TASK | {"name": name, "source": {"path": name}}))
    return api.submit_run(RunRequest(model="local:slow", task=name, methods=["mean-abs"], faithfulness="none"))


@pytest.mark.timeout(240)
def test_a_tokenizer_that_takes_too_long_fails_its_run_alone(house: Server) -> None:
    with Client(house.url) as api:
        run = submit_poison(api, house, "too-long", 60_000, 40)
        pid = pid_at(api, f"run:{run.id}", 60)
        failed = api.wait(run.id)
        assert failed.status is Status.FAILED
        assert "tokenizer of the model takes longer than 3.2 s for one text" in (failed.error or "")
        os.kill(pid, 0)  # its worker is still there
        assert pid in [worker.pid for worker in api.workers()]  # as may be, for a while, those killed by another test


@pytest.mark.timeout(240)
def test_a_cancel_reaches_a_run_that_tokenises_and_its_worker_stays(house: Server) -> None:
    with Client(house.url) as api:
        run = submit_poison(api, house, "long", 250, 160)  # 0.25 to 1 s of the 2 s that a text may take
        pid = pid_at(api, f"run:{run.id}", 60)
        time.sleep(6)
        assert api.run(run.id).status is Status.RUNNING, api.run(run.id).error
        cancelled = time.monotonic()
        api.cancel_run(run.id)
        while any((worker.current or "").startswith(f"run:{run.id}") for worker in api.workers()):
            assert time.monotonic() - cancelled < 5
            time.sleep(0.05)
        assert api.wait(api.submit_run(QUICK.model_copy(update={"seed": 9})).id).status is Status.DONE
        assert api.run(run.id).status is Status.CANCELLED
        os.kill(pid, 0)  # its worker is still there
        assert pid in [worker.pid for worker in api.workers()]
