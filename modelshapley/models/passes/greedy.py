"""Greedy generation of many texts at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from torch import Tensor

from modelshapley.interventions.gates import examples_differ
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.decoding import quick_attention
from modelshapley.models.passes.finite import require_finite
from modelshapley.models.passes.stepping import CachedTexts, PlainText

IsComplete = Callable[[list[list[int]]], list[bool]]
COMPACT_BELOW = 0.75  # share of unfinished texts below which dropping the others is worth copying the cache


def never_complete(rows: list[list[int]]) -> list[bool]:
    """Return that no text may end before its end-of-text token or its limit."""
    return [False] * len(rows)


def greedy(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    is_complete: IsComplete = never_complete,
) -> list[list[int]]:
    """Generate the likeliest token after each prompt, repeatedly; return new tokens without the end-of-text token.

    limits: maximum number of new tokens of each text. is_complete: given all new tokens of some texts, returns for each
    whether it may end there. Where that is proven for the model (`loaded.shortcuts`), prompts are left-padded to one
    pass, with a cache of keys and values, and finished texts leave the pass once they make up a quarter of it, unless
    each example has its own gates. Else texts are written one after the other, if need be without a cache.

    This is not transformers' `generate`, which has one limit for all rows and lets a text depend on the longest
    prompt in its batch. Raises NotFinite.
    """
    shortcuts = loaded.shortcuts
    longest = max(len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True))
    equal = len(set(map(len, prompts))) == 1
    if not shortcuts.caching.covers(longest):
        return [_recomputed(loaded, *text, is_complete) for text in zip(prompts, limits, strict=True)]
    if len(prompts) > 1 and not (equal or shortcuts.writing_together.covers(longest)):
        if examples_differ():
            raise ValueError("gates of several examples need one pass, and prompts of unequal length several")
        texts = zip(prompts, limits, strict=True)
        return [greedy(loaded, [prompt], [limit], is_complete)[0] for prompt, limit in texts]
    own_attention = shortcuts.own_attention.covers(longest)
    with quick_attention(loaded.model) if own_attention else nullcontext():
        return _cached(loaded, prompts, limits, is_complete)


def _recomputed(loaded: LoadedModel, prompt: Sequence[int], limit: int, is_complete: IsComplete) -> list[int]:
    """Write one text plainly: every token from a whole pass over all tokens before it."""
    generated: list[int] = []
    text, end = PlainText(loaded, prompt), end_tokens(loaded)
    while len(generated) < limit and not (generated and is_complete([generated])[0]):
        token = _likeliest(loaded, text.next_logits())[0]
        if token in end:
            break
        generated.append(token)
        text.append([token])
    return generated


def _cached(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    is_complete: IsComplete,
) -> list[list[int]]:
    growing, end = CachedTexts(loaded, prompts), end_tokens(loaded)
    generated: list[list[int]] = [[] for _ in prompts]
    unfinished = [limit > 0 for limit in limits]
    texts = list(range(len(prompts)))  # the text that each row of the pass belongs to
    while any(unfinished):
        longer = []  # the texts that may go on
        for text, token in zip(texts, _likeliest(loaded, growing.next_logits()), strict=True):
            if unfinished[text] and token not in end:
                generated[text].append(token)
                if len(generated[text]) < limits[text]:
                    longer.append(text)
        complete = is_complete([generated[text] for text in longer]) if longer else []
        unfinished = [False] * len(prompts)
        for text, ends in zip(longer, complete, strict=True):
            unfinished[text] = not ends
        rows = [row for row, text in enumerate(texts) if unfinished[text]]
        if rows and len(rows) <= COMPACT_BELOW * len(texts) and not examples_differ():
            growing.select(rows)
            texts = [texts[row] for row in rows]
        # A finished text that is still in the pass gets any token at its last position: its output is ignored.
        last = [generated[text][-1] if generated[text] else 0 for text in texts]
        growing.append(last, [unfinished[text] for text in texts])
    return generated


def _likeliest(loaded: LoadedModel, logits: Tensor) -> list[int]:
    """Return the likeliest next token of each row. Raises NotFinite."""
    highest, tokens = logits.max(-1)
    require_finite(loaded, highest, "The highest logit of a new token")  # max hands a not-a-number on
    ids: list[int] = tokens.tolist()
    return ids


def end_tokens(loaded: LoadedModel) -> set[int]:
    """Return the tokens that end a text: those of the model's generation config and of the tokenizer."""
    configured = [getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)]
    configured.append(getattr(loaded.tokenizer, "eos_token_id", None))
    return {token for ids in configured for token in (ids if isinstance(ids, list) else [ids]) if token is not None}
