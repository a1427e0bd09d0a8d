"""Compare each shortcut with plain passes of one example, on the very model that was loaded.

Costs some twenty short passes. Sequences reach past the model's attention window where that is affordable; where it is
not, and at the length at which rotary frequencies switch, shortcuts are taken up to that length only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from modelshapley.models.loaded import LoadedModel
from modelshapley.models.memory import first_line, ran_out_of_memory
from modelshapley.models.passes.greedy import greedy
from modelshapley.models.passes.head import forget_lengths
from modelshapley.models.passes.prefix_tree import Continuation, score_continuations
from modelshapley.models.shortcuts import Proof, Shortcuts

log = logging.getLogger(__name__)
LENGTH, ENDING, WRITTEN = 24, 4, 2  # tokens of the example, of its endings, and written behind it
BEHIND = 2 * ENDING + WRITTEN  # tokens of the example behind a window or switch
AFFORDABLE_S = 0.25  # for one pass over the longest example; about ten are made
AFFORDABLE_TOKENS = 2048
TOLERANCE = {torch.float32: 5e-5, torch.float64: 1e-6, torch.float16: 2e-2, torch.bfloat16: 1e-1}  # nats a token
TRUSTED = Shortcuts(Proof(), Proof(), Proof(), Proof(), Proof())
WINDOWS = ("sliding_window", "window_size", "attention_window", "attention_chunk_size", "local_attention")


class Differs(Exception):
    """A shortcut gives another value than plain passes."""


def prove_shortcuts(loaded: LoadedModel) -> Shortcuts:
    """Return which shortcuts give what plain passes of this model give, in its dtype and on its device."""
    with torch.inference_mode():
        if loaded.anatomy.modality == "image":
            return Shortcuts(batching=_proof(lambda: _images(loaded), None))
        if loaded.anatomy.auto_class == "AutoModelForCausalLM":
            return _CausalProofs.of(loaded).all()
        if loaded.anatomy.auto_class == "AutoModelForSeq2SeqLM":
            return Shortcuts()  # no task runs one yet
        return Shortcuts(batching=_proof(lambda: _texts(loaded), None))


def _proof(compare: Callable[[], None], limit: int | None) -> Proof:
    """Run a comparison; a model that refuses what a shortcut hands it has spoken, too."""
    try:
        compare()
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        reason = str(error) if isinstance(error, Differs) else f"the model refuses it: {first_line(error)[:160]}"
        log.info("a shortcut is not taken: %s", reason)
        return Proof(reason)
    return Proof(limit=limit)


def _require_equal(shortcut: torch.Tensor, plain: torch.Tensor, loaded: LoadedModel) -> None:
    """Raises Differs."""
    dtype = next(loaded.model.parameters()).dtype
    difference = float((shortcut.float() - plain.float()).abs().max())
    if not difference <= TOLERANCE.get(dtype, TOLERANCE[torch.float16]) * max(1.0, float(plain.abs().max())):
        raise Differs(f"it differs by {difference:.2g} from plain passes")


# -- causal language models -----------------------------------------------------------------------


@dataclass(frozen=True)
class _CausalProofs:
    """loaded: the model, all shortcuts trusted. short, long: two examples. limit: None where `long` reaches it all."""

    loaded: LoadedModel
    short: list[int]
    long: list[int]
    limit: int | None

    @classmethod
    def of(cls, loaded: LoadedModel) -> _CausalProofs:
        tokens = _some_tokens(loaded, AFFORDABLE_TOKENS + LENGTH)
        length, limit = _reach(loaded, tokens)
        return cls(replace(loaded, shortcuts=TRUSTED), tokens[: max(2, length // 3)], tokens[-length:], limit)

    def all(self) -> Shortcuts:
        caching = _proof(lambda: self._written([self.long], caching=Proof()), self.limit)
        own = together = caching
        if caching.reason is None:
            own = _proof(lambda: self._written([self.long], caching=Proof(), own_attention=Proof()), self.limit)
            kinds = {"caching": Proof(), "writing_together": Proof()}
            together = _proof(lambda: self._written([self.long, self.short], **kinds), self.limit)
        return Shortcuts(
            merging=_proof(self._merged, self.limit),
            batching=_proof(self._padded, self.limit),
            caching=caching,
            own_attention=own,
            writing_together=together,
        )

    def _merged(self) -> None:
        """Two endings of one prompt in one sequence, against a plain pass of each."""
        start = len(self.long) - ENDING
        other = [*self.long[:start], *reversed(self.long[start:])]
        both = [Continuation(self.long, start), Continuation(other, start)]
        merged = score_continuations(self.loaded, [both]).mean.cpu()
        plain = torch.stack([_plain(self.loaded, tokens, start) for tokens in (self.long, other)])
        _require_equal(merged, plain, self.loaded)

    def _padded(self) -> None:
        """A short example beside a long one, against a plain pass of the short one."""
        rows = [[Continuation(tokens, 1)] for tokens in (self.short, self.long)]
        padded = score_continuations(self.loaded, rows).mean.cpu()
        plain = torch.stack([_plain(self.loaded, tokens, 1) for tokens in (self.short, self.long)])
        _require_equal(padded, plain, self.loaded)

    def _written(self, prompts: Sequence[list[int]], **shortcuts: Proof) -> None:
        """Texts written with these shortcuts, against plain passes over all tokens before each."""
        # From just before the farthest window or switch that was reached to just behind it.
        starts = [prompt[: max(2, len(prompt) - BEHIND - 2)] for prompt in prompts]
        candidate = replace(self.loaded, shortcuts=Shortcuts(**shortcuts))
        texts = greedy(candidate, starts, [2 * WRITTEN] * len(starts))
        for start, text in zip(starts, texts, strict=True):
            self._check_text(start, text)

    def _check_text(self, prompt: list[int], text: list[int]) -> None:
        """Each token was the likeliest by plain passes, or as likely as makes no difference."""
        if not text:
            return
        ids = torch.tensor([[*prompt, *text]], device=self.loaded.device)
        predicted = self.loaded.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        chosen = predicted[range(len(text)), text]
        _require_equal(chosen, predicted.max(-1).values, self.loaded)


def _plain(loaded: LoadedModel, tokens: Sequence[int], start: int) -> torch.Tensor:
    """Mean log-likelihood of tokens[start:], by one pass of these tokens and nothing else."""
    ids = torch.tensor([list(tokens)], device=loaded.device)
    forget_lengths(loaded.model)
    by_token = loaded.model(input_ids=ids).logits[0].float().log_softmax(-1).cpu()
    places = range(start, len(tokens))
    mean: torch.Tensor = by_token[[place - 1 for place in places], [tokens[place] for place in places]].mean()
    return mean


def _reach(loaded: LoadedModel, tokens: Sequence[int]) -> tuple[int, int | None]:
    """Return the length of the long example, and the length up to which shortcuts may be taken; None: any.

    Behind a switch of rotary frequencies what a pass gives depends on its length, so there is nothing to prove.
    """
    model: Any = loaded.model
    config = model.config.get_text_config()
    limits = set(_switches(config))
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    room = min([AFFORDABLE_TOKENS, *limits, *([most] if isinstance(most, int) else [])])
    length, windows = min(LENGTH, room), _windows(config)
    seconds = _seconds_a_token(loaded, tokens) if windows else 0.0
    for window in windows:
        wanted = window + BEHIND
        if wanted <= room and wanted * seconds <= AFFORDABLE_S:
            length = max(length, wanted)
        elif not isinstance(most, int) or window < most:
            limits.add(window)
    return length, min(limits, default=None)


def _windows(config: Any) -> list[int]:
    """Lengths behind which a token no longer attends to all tokens before it."""
    lengths = {getattr(config, name, None) for name in WINDOWS}
    if getattr(config, "use_sliding_window", True) is False:
        lengths.discard(getattr(config, "sliding_window", None))
    return sorted(length for length in lengths if isinstance(length, int) and length > 0)


def _switches(config: Any) -> list[int]:
    """Lengths behind which rotary frequencies depend on the length of the text (dynamic and long rope)."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    by_layer = [value for value in rope.values() if isinstance(value, dict)]
    lengths: set[Any] = set()
    for one in by_layer or [rope]:
        if one.get("rope_type") in ("dynamic", "longrope"):
            own = one.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
            lengths.add(own or getattr(config, "max_position_embeddings", None))
    return sorted(length for length in lengths if isinstance(length, int) and length > 0)


def _seconds_a_token(loaded: LoadedModel, tokens: Sequence[int]) -> float:
    ids = torch.tensor([list(tokens[:LENGTH])], device=loaded.device)
    loaded.model(input_ids=ids)  # the first pass is slower
    start = time.perf_counter()
    loaded.model(input_ids=ids)
    return (time.perf_counter() - start) / LENGTH


def _some_tokens(loaded: LoadedModel, count: int) -> list[int]:
    """Arbitrary tokens, the same every time, without those that pad or end a text."""
    model: Any = loaded.model
    size = model.get_input_embeddings().weight.shape[0]
    config = model.config.get_text_config()
    special = set(getattr(loaded.tokenizer, "all_special_ids", ()))
    for name in ("pad", "bos", "eos", "decoder_start"):
        ids = getattr(config, f"{name}_token_id", None)
        special |= set(ids) if isinstance(ids, list) else {ids}
    usual = [token for token in range(min(size, 50_000)) if token not in special] or [0]
    generator = torch.Generator().manual_seed(0)
    return [usual[i] for i in torch.randint(len(usual), (count,), generator=generator).tolist()]


# -- models that read a whole text or picture -------------------------------------------------------


def _texts(loaded: LoadedModel) -> None:
    """A short text padded beside a longer one, against a plain pass of the short one."""
    model: Any = loaded.model
    tokens = _some_tokens(loaded, LENGTH)
    short = tokens[: LENGTH // 3]
    pad = getattr(model.config, "pad_token_id", None) or 0
    ids = torch.tensor([tokens, [*short, *[pad] * (LENGTH - len(short))]], device=loaded.device)
    mask = torch.tensor([[1] * LENGTH, [1] * len(short) + [0] * (LENGTH - len(short))], device=loaded.device)
    together = model(input_ids=ids, attention_mask=mask).logits[1]
    alone = model(input_ids=ids[1:, : len(short)]).logits[0]
    _require_equal(together[: len(alone)] if alone.dim() > 1 else together, alone, loaded)


def _images(loaded: LoadedModel) -> None:
    """Two pictures in one pass, against a plain pass of each."""
    model: Any = loaded.model
    vision = getattr(model.config, "vision_config", model.config)
    size = getattr(vision, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
    generator = torch.Generator().manual_seed(0)
    shape = (2, getattr(vision, "num_channels", 3), height, width)
    pixels = torch.randn(shape, generator=generator).to(loaded.device, next(model.parameters()).dtype)
    together = model(pixel_values=pixels).logits
    _require_equal(together, torch.cat([model(pixel_values=pixels[i : i + 1]).logits for i in range(2)]), loaded)
