"""A submission that takes its worker along, or does not stop, ends with a reason, and others' work goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import tokenizers
import transformers

from modelshapley.client import Client
from modelshapley.contracts import RunRequest, Status
from tests.conftest import DIGITS_RUN, Server, StartServer
from tests.support.model_files import CONFIG
from tests.support.task_data import jsonl

QUICK = DIGITS_RUN.model_copy(update={"methods": ["mean-abs"], "limit": 16, "faithfulness": "none"})
TASK = {
    "kind": "language-modelling",
    "name": "poison",
    "source": {"path": "poison"},
    "window": 8,
}


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
        run = api.submit_run(RunRequest(model="demo:smollm2-135m", task="world-capitals", faithfulness="none"))
        killed: set[int] = set()
        for _ in range(3):
            pid = pid_at(api, f"run:{run.id}", 90)
            while pid in killed:
                time.sleep(0.1)
                pid = pid_at(api, f"run:{run.id}", 90)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            assert api.wait(api.submit_run(QUICK.model_copy(update={"seed": len(killed)})).id).status is Status.DONE
        failed = api.wait(run.id)
        assert failed.status is Status.FAILED
        assert "died 3 times" in (failed.error or "")
        assert api.health().status == "ok"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cancelled_run_that_does_not_stop_is_ended_by_force(house: Server) -> None:
    slow_model(house.data / "models" / "slow")
    jsonl(house.data / "datasets" / "poison" / "train.jsonl", [{"text": "a" * 60_000} for _ in range(40)])
    shutil.copy(house.data / "datasets" / "poison" / "train.jsonl", house.data / "datasets" / "poison" / "test.jsonl")
    with Client(house.url) as api:
        api.add_task(json.dumps(TASK))
        run = api.submit_run(RunRequest(model="local:slow", task="poison", methods=["mean-abs"], faithfulness="none"))
        pid = pid_at(api, f"run:{run.id}", 60)
        time.sleep(5)
        assert api.run(run.id).status is Status.RUNNING, "it must hang, or this shows nothing"
        cancelled = time.monotonic()
        api.cancel_run(run.id)
        while os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
            assert time.monotonic() - cancelled < 6
            time.sleep(0.05)
        assert api.wait(api.submit_run(QUICK.model_copy(update={"seed": 9})).id).status is Status.DONE
        assert api.run(run.id).status is Status.CANCELLED
