"""Both states of a model, intact and with units off, side by side at each token of one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from modelshapley.contracts.prompts import NextToken, Position, PromptComparison
from modelshapley.interventions.gates import changed
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.finite import require_finite
from modelshapley.models.passes.head import accepts, forget_lengths, logits_at
from modelshapley.prompts.writing import Changes
from modelshapley.tasks.language.text import decode

MOST = 8  # likeliest next tokens of each state, and tokens that moved most, of one position


def compare_answer(
    loaded: LoadedModel, prompt: Sequence[int], answer: Sequence[int], changes: Changes
) -> PromptComparison:
    """Compare the two states at each token of an answer, given the prompt and the answer before it.

    Two forward passes over both. answer: at least one token. Raises NotFinite, OutOfMemory.
    """
    places = list(range(len(prompt) - 1, len(prompt) + len(answer) - 1))
    inputs = {"input_ids": torch.tensor([[*prompt, *answer]], device=loaded.device)}
    if accepts(loaded.model, "use_cache"):
        inputs["use_cache"] = False  # type: ignore[assignment]

    def logits() -> Tensor:
        forget_lengths(loaded.model)
        return logits_at(loaded.model, [places], **inputs)[0]

    def names(numbers: Sequence[int]) -> list[str]:
        if loaded.tokenizer is None:
            return [""] * len(numbers)
        return decode(loaded, [[number] for number in numbers])

    return PromptComparison(positions=compare_states(loaded, logits, answer, changes, names))


def compare_states(
    loaded: LoadedModel,
    logits: Callable[[], Tensor],
    chosen: Sequence[int],
    changes: Changes,
    names: Callable[[Sequence[int]], list[str]],
) -> list[Position]:
    """Compare the distributions of `logits`, (positions, vocabulary), in both states of the model.

    chosen: the token or class whose loss is reported, for each position. names: texts of tokens or classes.
    """
    with torch.inference_mode():
        intact = require_finite(loaded, logits(), "A logit")
        with changed(loaded.model, changes):
            other = require_finite(loaded, logits(), "A logit of the changed model")
    return [
        _position(intact[row].float().log_softmax(-1), other[row].float().log_softmax(-1), number, names)
        for row, number in enumerate(chosen)
    ]


def _position(intact: Tensor, other: Tensor, chosen: int, names: Callable[[Sequence[int]], list[str]]) -> Position:
    """Compare two distributions, given as log-probabilities (vocabulary,)."""
    p, q = intact.exp(), other.exp()
    count = min(MOST, len(p))
    listed = [values.topk(count).indices.tolist() for values in (p, q, (q - p).abs())]
    numbers = sorted({number for numbers in listed for number in numbers}, key=lambda number: -float(p[number]))
    text, *texts = names([chosen, *numbers])  # at once: each request may go to the tokenizer's own process
    return Position(
        id=chosen,
        text=text,
        loss_intact=-float(intact[chosen]),
        loss_changed=-float(other[chosen]),
        kl=max(0.0, float((p.double() * (intact - other).double()).sum())),
        next=[
            NextToken(id=n, text=text, intact=float(p[n]), changed=float(q[n]))
            for n, text in zip(numbers, texts, strict=True)
        ],
    )
