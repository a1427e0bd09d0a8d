"""Recommendations: every candidate has the wanted size and the measured accuracy, and the best is the best."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from modelshapley import load_task
from modelshapley.applications.pruning import predict
from modelshapley.applications.recommending import timing
from modelshapley.applications.recommending.ranking import choose_best, frontier
from modelshapley.applications.recommending.recommend import recommend, score_choosers
from modelshapley.applications.surgery import smaller_model
from modelshapley.contracts import Comparison
from modelshapley.contracts.applications.recommendations import Candidate
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.accuracy import Evaluation
from modelshapley.evaluation.intervals import paired_difference
from modelshapley.evaluation.trials import all_answers
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split
from modelshapley.units import Deactivation, UnitKind
from tests.support.command_line import run
from tests.support.toys import CONFIGS, LLAMA, ToyTask, tiny


@pytest.mark.parametrize("name", ["llama", "vit", "gpt2", "mixtral", "bert"])
def test_every_candidate_has_the_wanted_size_and_is_measured_as_it_would_be_saved(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    task = ToyTask(loaded, probe=40)
    share = 0.02 if name in ("gpt2", "bert") else 0.3
    found = recommend(loaded, task, share=share, methods=["two-sided", "magnitude"], limit=40)
    report = found.report
    assert (report.scored, report.measured) == (20, 20)
    assert len(report.candidates) == len(found.units) == len({units.key() for units in found.units}) > 1
    for candidate, units in zip(report.candidates, found.units, strict=True):
        prediction = predict(loaded, units)
        assert report.target_parameters is not None
        assert candidate.parameters == prediction.size.parameters <= report.target_parameters
        assert candidate.bytes == prediction.size.bytes
        smaller = smaller_model(loaded, prediction.plan, torch.float32)
        with torch.inference_mode():
            logits = [smaller(x[None]).logits[0] for x, _ in task.examples(Split.PROBE)[20:]]
        answers = torch.stack([row if row.dim() == 1 else row[-1] for row in logits]).argmax(-1)
        labels = torch.stack([y for _, y in task.examples(Split.PROBE)[20:]])
        assert candidate.measured.accuracy == pytest.approx(float((answers % 3 == labels % 3).float().mean()))
    kinds = {kind for candidate in report.candidates for kind in candidate.off}
    assert kinds >= {"llama": {"neuron", "head", "layer"}, "mixtral": {"expert", "layer"}}.get(name, {"neuron"})


def evaluation(outcomes: list[int], loss: float) -> Evaluation:
    right = np.array(outcomes, dtype=bool)
    return Evaluation(np.full(len(right), loss), np.ones(len(right)), None, right)


def test_the_loss_decides_only_where_accuracies_do_not_separate() -> None:
    clear = evaluation([1] * 100, 0.9)
    close = evaluation([1] * 97 + [0] * 3, 0.1)
    far = evaluation([1] * 50 + [0] * 50, 0.05)
    assert choose_best([clear, close, far]) == 1
    assert choose_best([clear, far]) == 0
    assert choose_best([far]) == 0


def test_frontier_by_hand() -> None:
    def candidate(parameters: int, accuracy: float) -> Candidate:
        measured = Comparison(
            n=1, accuracy=accuracy, interval=(0, 1), intact=1, intact_interval=(0, 1), difference=0,
            difference_interval=(0, 0),
        )  # fmt: skip
        return Candidate(method="m", spend="s", off={}, parameters=parameters, bytes=0, measured=measured, loss=0)

    assert frontier([candidate(9, 0.8), candidate(5, 0.7), candidate(6, 0.6), candidate(5, 0.5)]) == [1, 0]


def test_what_cannot_be_reached_is_said() -> None:
    loaded = tiny(CONFIGS["bert"])
    task = ToyTask(loaded, probe=16)
    with pytest.raises(ModelShapleyError, match="leaves out too few kinds of unit"):
        recommend(loaded, task, share=0.9, methods=["magnitude"], limit=16)
    with pytest.raises(ModelShapleyError, match="at least 16 probe examples"):
        recommend(loaded, ToyTask(loaded, probe=15), share=0.1)
    with pytest.raises(ModelShapleyError, match=r"between 0 and 1, not at 1\.5"):
        recommend(loaded, task, share=1.5)
    with pytest.raises(ModelShapleyError, match="Give either"):
        recommend(loaded, task)


def test_a_size_in_bytes_is_kept() -> None:
    loaded = tiny(CONFIGS["llama"])
    wanted = predict(loaded, Deactivation.of({UnitKind.LAYER: [1]})).size.bytes
    found = recommend(loaded, ToyTask(loaded, probe=16), size=wanted, methods=["magnitude"], limit=16)
    assert all(candidate.bytes <= wanted for candidate in found.report.candidates)


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A fake clock, since no quiet machine can be had: linear layers take a nanosecond a multiplication."""
    total = 0
    real = torch.nn.Linear.forward

    def forward(linear: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += inputs.numel() * linear.out_features
        return real(linear, inputs)

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    monkeypatch.setattr(timing, "perf_counter", lambda: total / 1e9)
    monkeypatch.setattr(timing, "ROUNDS", 1)  # each would count the same
    return lambda: total


def test_a_time_is_kept_by_models_that_are_faster(operations: Callable[[], int]) -> None:
    config = copy.deepcopy(LLAMA)
    config.num_hidden_layers = 8
    loaded = tiny(config)
    task = ToyTask(loaded, probe=16)
    inputs = torch.stack([x for x, _ in task.examples(Split.PROBE)[8:]])

    def count(model: torch.nn.Module) -> int:
        before = operations()
        with torch.inference_mode():
            model(inputs)
        return operations() - before

    parent = count(loaded.model)
    target = 0.5 * parent / 1e6
    found = recommend(loaded, task, milliseconds=target, methods=["two-sided"], limit=16)
    report = found.report
    assert (report.target_parameters, report.target_milliseconds) == (None, target)
    assert report.parent_milliseconds == pytest.approx(parent / 1e6)
    assert {"layer"} <= {candidate.spend for candidate in report.candidates}
    assert all(0 < (candidate.milliseconds or 0) <= target for candidate in report.candidates)
    smaller = smaller_model(loaded, predict(loaded, found.best).plan, torch.float32)
    assert report.candidates[report.best].milliseconds == pytest.approx(count(smaller) / 1e6)


def test_a_time_that_cannot_be_met_is_said() -> None:
    loaded = tiny(CONFIGS["llama"])
    task = ToyTask(loaded, probe=16)
    with pytest.raises(ModelShapleyError, match=r"takes .* ms here, so nothing has to go for 100000 ms"):
        recommend(loaded, task, milliseconds=1e5)
    with pytest.raises(ModelShapleyError, match=r"No smaller 'toy' takes at most 0\.0001 ms .* the whole takes"):
        recommend(loaded, task, milliseconds=1e-4, methods=["magnitude"])
    with pytest.raises(ModelShapleyError, match="more than 0 milliseconds, not nan"):
        recommend(loaded, task, milliseconds=float("nan"))
    with pytest.raises(ModelShapleyError, match="Give either"):
        recommend(loaded, task, share=0.1, milliseconds=1)


def test_several_sizes_share_one_scoring() -> None:
    loaded = tiny(CONFIGS["llama"])
    task = ToyTask(loaded, probe=16)
    choosers = score_choosers(loaded, task, ["two-sided"], limit=16)
    for share in (0.1, 0.3):
        shared = recommend(loaded, task, share=share, choosers=choosers, limit=16)
        alone = recommend(loaded, task, share=share, methods=["two-sided"], limit=16)
        assert shared.report == alone.report


def test_never_worse_than_a_single_method_on_the_digits(digits_vit: LoadedModel) -> None:
    """The test examples, which the recommendation never saw, bear it out."""
    task = load_task("digits")
    found = recommend(digits_vit, task, share=0.2, limit=256)
    assert any(candidate.layer_method == "block-influence" for candidate in found.report.candidates)
    outcomes = [all_answers(digits_vit, task, units) for units in found.units]
    for other in outcomes:
        assert paired_difference(outcomes[found.report.best], other)[1][1] >= 0


@pytest.mark.slow
def test_recommend_from_the_command_line(tmp_path: Path) -> None:
    command = ["recommend", "demo:digits-vit", "--task", "digits"]
    options = ["--share", "0.1", "--limit", "64", "--out", str(tmp_path / "best"), "--data", str(tmp_path)]
    done = run(*command, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert "scored on 32 probe examples, measured on 32 others" in printed
    assert sum(line.startswith("*") for line in printed.splitlines()) == 1
    assert (tmp_path / "best" / "model.safetensors").exists()
