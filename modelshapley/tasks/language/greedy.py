"""Greedy writing, many texts at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from modelshapley.interventions.gates import examples_differ
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.language.decoding import quick_attention

LEFT = 0.75


def greedy(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    most: Sequence[int],
    complete: Callable[[list[int]], bool] = lambda _: False,
) -> list[list[int]]:
    """The likeliest token behind each prompt, again and again; without the token that ends a text.

    most: new tokens of each text. complete: told all new tokens of a text, whether it may end there. Left-padded,
    with a cache of keys and values. Texts that have ended leave the pass once they are a quarter of it, but where
    each has gates of its own.

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
    texts = list(range(len(prompts)))  # which text each row of the pass is
    with quick_attention(loaded.model):
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
            for text, token in zip(texts, found.logits[:, -1].argmax(-1).tolist(), strict=True):
                if not going[text]:
                    continue
                if token not in ends:
                    written[text].append(token)
                going[text] = token not in ends and len(written[text]) < most[text] and not complete(written[text])
            # A text that has ended and stays gets any token, where it stopped: it is not read any more.
            places = places[:, -1:] + torch.tensor([[int(going[text])] for text in texts], device=places.device)
            rows = [row for row, text in enumerate(texts) if going[text]]
            if rows and len(rows) <= LEFT * len(texts) and not examples_differ():
                kept = torch.tensor(rows, device=loaded.device)
                cache.batch_select_indices(kept)
                mask, places, texts = mask[kept], places[kept], [texts[row] for row in rows]
            ids = torch.tensor([[written[text][-1] if written[text] else 0] for text in texts])
            mask = torch.cat([mask, mask.new_ones((len(texts), 1))], dim=-1)
    return written


def _ends(loaded: LoadedModel) -> set[int]:
    """Tokens that end a text: the model's own list of them, and the tokenizer's."""
    said = [getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)]
    said.append(getattr(loaded.tokenizer, "eos_token_id", None))
    return {token for one in said for token in (one if isinstance(one, list) else [one]) if token is not None}
