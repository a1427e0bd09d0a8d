"""The choice of the next token: the likeliest, or one drawn reproducibly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def choose(logits: Tensor, temperature: float, seed: int, place: int) -> int:
    """Return the next token, given the logits, (vocabulary,), all finite.

    At temperature 0 it is the likeliest. Else it is drawn from softmax(logits / temperature) by adding Gumbel noise,
    which depends on seed and place alone: a text can be continued anywhere, and two states of a model that see the
    same noise differ only where their distributions do.
    """
    if temperature == 0:
        return int(logits.argmax())
    noise = np.random.default_rng([seed, place]).gumbel(size=len(logits))
    return int((logits.double().cpu() / temperature + torch.from_numpy(noise)).argmax())
