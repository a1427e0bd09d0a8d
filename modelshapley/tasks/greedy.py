"""Greedy writing, many texts at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from modelshapley.models import LoadedModel


def greedy(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    most: Sequence[int],
    complete: Callable[[list[int]], bool] = lambda _: False,
) -> list[list[int]]:
    """The likeliest token behind each prompt, again and again; without the token that ends a text.

    most: new tokens of each text. complete: told all new tokens of a text, whether it may end there. Left-padded,
    with a cache of keys and values. All rows stay to the end, so that gates may differ from row to row.

    transformers' `generate` has one limit for all rows, and a text would depend on the longest prompt beside it.
    """
    longest, ends = max(map(len, prompts)), _ends(loaded)
    ids, mask = torch.zeros((2, len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    mask = mask.to(loaded.device)
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    going = [limit > 0 for limit in most]
    cache: Any = None
    while any(going):
        found: Any = loaded.model(
            input_ids=ids.to(loaded.device),
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = found.past_key_values
        for row, token in enumerate(found.logits[:, -1].argmax(-1).tolist()):
            if not going[row]:
                continue
            if token not in ends:
                written[row].append(token)
            going[row] = token not in ends and len(written[row]) < most[row] and not complete(written[row])
        # A text that has ended is given any token, at the place where it stopped: it is not read any more.
        ids = torch.tensor([[tokens[-1] if tokens else 0] for tokens in written])
        mask = torch.cat([mask, mask.new_ones((len(prompts), 1))], dim=-1)
        places = places[:, -1:] + torch.tensor([[int(on)] for on in going], device=places.device)
    return written


def _ends(loaded: LoadedModel) -> set[int]:
    """Tokens that end a text: the model's own list of them, and the tokenizer's."""
    said = [getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)]
    said.append(getattr(loaded.tokenizer, "eos_token_id", None))
    return {token for one in said for token in (one if isinstance(one, list) else [one]) if token is not None}
