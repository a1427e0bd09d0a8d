"""Greedy generation of many texts at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from modelshapley.interventions.gates import examples_differ
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.finite import require_finite
from modelshapley.tasks.language.decoding import quick_attention

COMPACT_BELOW = 0.75  # share of unfinished texts below which dropping the others is worth copying the cache


def greedy(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    is_complete: Callable[[list[int]], bool] = lambda _: False,
) -> list[list[int]]:
    """Generate the likeliest token after each prompt, repeatedly; return new tokens without the end-of-text token.

    limits: maximum number of new tokens of each text. is_complete: given all new tokens of a text, returns whether
    it may end there. Prompts are left-padded, with a cache of keys and values. Finished texts leave the pass once
    they make up a quarter of it, unless each example has its own gates.

    This is not transformers' `generate`, which has one limit for all rows and lets a text depend on the longest
    prompt in its batch.
    """
    longest, end_tokens = max(map(len, prompts)), _end_tokens(loaded)
    ids, mask = torch.zeros((2, len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    mask = mask.to(loaded.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    generated: list[list[int]] = [[] for _ in prompts]
    unfinished = [limit > 0 for limit in limits]
    cache: Any = None
    texts = list(range(len(prompts)))  # the text that each row of the pass belongs to
    with quick_attention(loaded.model):
        while any(unfinished):
            output: Any = loaded.model(
                input_ids=ids.to(loaded.device),
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            highest, tokens = output.logits[:, -1].max(-1)
            require_finite(loaded, highest, "The highest logit of a new token")  # max hands a not-a-number on
            for text, token in zip(texts, tokens.tolist(), strict=True):
                if not unfinished[text]:
                    continue
                if token not in end_tokens:
                    generated[text].append(token)
                unfinished[text] = (
                    token not in end_tokens and len(generated[text]) < limits[text] and not is_complete(generated[text])
                )
            # A finished text that is still in the pass gets any token at its last position: its output is ignored.
            positions = positions[:, -1:] + torch.tensor(
                [[int(unfinished[text])] for text in texts], device=positions.device
            )
            rows = [row for row, text in enumerate(texts) if unfinished[text]]
            if rows and len(rows) <= COMPACT_BELOW * len(texts) and not examples_differ():
                row_index = torch.tensor(rows, device=loaded.device)
                cache.batch_select_indices(row_index)
                mask, positions, texts = mask[row_index], positions[row_index], [texts[row] for row in rows]
            ids = torch.tensor([[generated[text][-1] if generated[text] else 0] for text in texts])
            mask = torch.cat([mask, mask.new_ones((len(texts), 1))], dim=-1)
    return generated


def _end_tokens(loaded: LoadedModel) -> set[int]:
    """Return the tokens that end a text: those of the model's generation config and of the tokenizer."""
    configured = [getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)]
    configured.append(getattr(loaded.tokenizer, "eos_token_id", None))
    return {token for ids in configured for token in (ids if isinstance(ids, list) else [ids]) if token is not None}
