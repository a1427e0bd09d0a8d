"""Where examples are partly right, a run's intact accuracy is the mean of their shares, as its trials say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from modelshapley.client import Client
from modelshapley.contracts import Off, RunRequest, TrialRequest
from tests.conftest import Server
from tests.support.task_data import jsonl, model, tokenizer
from tests.support.toys import LLAMA


def test_the_intact_accuracy_is_the_mean_of_shares_with_students_interval(api: Client, server: Server) -> None:
    words = tokenizer()
    language_model = model(LLAMA, words).model
    language_model.save_pretrained(server.data / "models" / "partly")
    words.save_pretrained(server.data / "models" / "partly")
    texts = [f"The cat sat on {i} mats, and the dog lay by the door." for i in range(40)]
    for split in ("train", "test"):
        jsonl(server.data / "datasets" / "lines" / f"{split}.jsonl", [{"text": text} for text in texts])
    parts = "probe: {split: train, share: 1.0}\ntest: {split: test, share: 1.0}\n"
    api.add_task(f"kind: language-modelling\nname: lines\nsource: {{path: lines}}\nwindow: 32\n{parts}")
    shares = []
    for text in texts:
        ids = torch.tensor([words(text)["input_ids"][:32]])
        with torch.no_grad():
            likeliest = language_model(input_ids=ids).logits[0, :-1].argmax(-1)
        shares.append(float((likeliest == ids[0, 1:]).double().mean()))
    mean, n = float(np.mean(shares)), len(shares)
    reach = float(student.ppf(0.975, n - 1) * np.std(shares, ddof=1) / np.sqrt(n))
    request = RunRequest(
        model="local:partly", task="lines", methods=["mean-abs"], units=["head"], limit=8, faithfulness="none"
    )
    run = api.wait(api.submit_run(request).id)
    trial = api.measure(TrialRequest(run=run.id, off=Off(head=[(0, 0)])))
    assert run.intact is not None
    for accuracy, interval in ((run.intact.accuracy, run.intact.interval), (trial.intact, trial.intact_interval)):
        assert accuracy == pytest.approx(mean, abs=1e-6)
        assert interval == pytest.approx((max(0.0, mean - reach), min(1.0, mean + reach)), abs=1e-4)
