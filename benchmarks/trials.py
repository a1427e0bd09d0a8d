"""Waiting time for a trial through the real API, queue and worker.

    python -m benchmarks.trials --json

For each demo model: `first_ms` = from sending the request to the first event that carries an accuracy, `all_ms` =
to the accuracy on all test examples; medians over single heads, with the model warm. `plain_ms` = the same
evaluation in this process with the weights zeroed and no server; `overhead` = all_ms / plain_ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.common import DATA, report
from modelshapley import load_task
from modelshapley.client import Client
from modelshapley.contracts import Off, RunRequest, TrialRequest
from modelshapley.interventions.weights import zeroed_weights
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loading import load
from modelshapley.tasks.base import Split


def measure_api_s(api: Client, model: str, task: str, offs: list[Off]) -> tuple[float, float]:
    run = api.wait(api.submit_run(RunRequest(model=model, task=task, methods=["mean-abs"], limit=8)).id)
    api.measure(TrialRequest(run=run.id, off=Off(layer=[0])))
    firsts, alls = [], []
    for off in offs:
        started = time.perf_counter()
        trial = api.submit_trial(TrialRequest(run=run.id, off=off))
        first = None
        for event in api.trial_events(trial.id):
            if first is None and event.data.n:
                first = time.perf_counter() - started
        alls.append(time.perf_counter() - started)
        firsts.append(first if first is not None else alls[-1])
    return statistics.median(firsts), statistics.median(alls)


def measure_plain_s(catalog: Catalog, model: str, task_id: str, offs: list[Off]) -> float:
    loaded, task = load(catalog.folder(model)), load_task(task_id)
    examples = task.examples(Split.TEST)
    times = []
    for off in offs:
        started = time.perf_counter()
        with torch.inference_mode(), zeroed_weights(loaded.model, loaded.anatomy, off.deactivation()):
            for start in range(0, len(examples), task.test_chunk):
                task.correct(loaded, examples[start : start + task.test_chunk])
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity; the output is always JSON")
    parser.add_argument("--trials", type=int, default=5)
    options = parser.parse_args()
    catalog = Catalog(DATA)
    prepare_smollm2(catalog.smollm2_folder)
    results: dict[str, Any] = {}
    offs = [Off(head=[(layer % 4, layer % 3), (0, 3)]) for layer in range(options.trials)]
    pairs = ((DIGITS_VIT, "digits"), (SMOLLM2, "world-capitals"))
    with tempfile.TemporaryDirectory() as data:
        (Path(data) / "demo").symlink_to((DATA / "demo").resolve())
        command = [sys.executable, "-m", "modelshapley.cli", "up", "--port", "0", "--data", data]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
        )
        assert process.stdout is not None
        try:
            with Client(process.stdout.readline().split()[1]) as api:
                for model, task in pairs:
                    first, whole = measure_api_s(api, model, task, offs)
                    results[model] = {"first_ms": round(1000 * first), "all_ms": round(1000 * whole)}
        finally:
            process.terminate()
            process.wait()
    for model, task in pairs:
        plain = measure_plain_s(catalog, model, task, offs)
        results[model] |= {
            "plain_ms": round(1000 * plain),
            "overhead": round(results[model]["all_ms"] / (1000 * plain), 2),
        }
    report(results)


if __name__ == "__main__":
    main()
