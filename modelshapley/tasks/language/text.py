"""Texts as a model reads them: chat template, tokens, which tokens count, how many fit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from modelshapley.contracts.task_files.descriptions import Token
from modelshapley.contracts.task_files.file import Chat
from modelshapley.errors import TaskMismatch
from modelshapley.models.confined.templates import RENDERER, TemplateRefusal
from modelshapley.models.confined.tokenizer import Detail, Encoding, confined
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation
from modelshapley.tasks.data import BadRow

UNBOUNDED = 10**9  # tokenizers without a limit report a number above this


def render_prompt(loaded: LoadedModel, system: str, prompt: str, chat: Chat) -> tuple[str, bool]:
    """Return (the text before the answer, whether the chat template made it). Raises TaskMismatch."""
    template = getattr(loaded.tokenizer, "chat_template", None)
    if chat == "yes" and not template:
        raise TaskMismatch(f"The tokenizer of {loaded.id!r} has no chat template; set `chat: auto` or `no`.")
    if chat == "no" or not template:
        return f"{system}\n\n{prompt}" if system else prompt, False
    tokenizer = _tokenizer(loaded)
    render = partial(RENDERER.render, tokenizer.get_chat_template(), special_tokens=tokenizer.special_tokens_map)
    system_messages = [{"role": "system", "content": system}] if system else []
    try:
        text = render([*system_messages, {"role": "user", "content": prompt}])
    except TemplateRefusal:  # the template knows no system role: the text goes before the question
        try:
            text = render([{"role": "user", "content": f"{system}\n\n{prompt}" if system else prompt}])
        except TemplateRefusal as error:
            raise TaskMismatch(f"The chat template of {loaded.id!r} refuses the question: {error}.") from None
    return text, True


def tokenize(loaded: LoadedModel, text: str) -> list[int]:
    """Encode a whole text, with the special tokens that the tokenizer adds."""
    return check_ids(loaded, encode(loaded, text).ids)


def encode(
    loaded: LoadedModel, text: str, pair: str | None = None, special: bool = True, detail: Detail = "none"
) -> Encoding:
    """Encode a text or a pair, within limits. special: whether special tokens are added. Raises ModelShapleyError."""
    return confined(_tokenizer(loaded)).encode(text, pair, special, detail)


def decode(loaded: LoadedModel, rows: Sequence[Sequence[int]], skip_special: bool = False) -> list[str]:
    """Decode the tokens of each row, within limits. Raises ModelShapleyError."""
    return confined(_tokenizer(loaded)).decode(rows, skip_special)


def tokenize_prompt(loaded: LoadedModel, prompt: tuple[str, bool]) -> list[int]:
    """Encode a prompt from :func:`render_prompt` to continue, without special tokens after it. Raises BadRow."""
    whole = encode(loaded, prompt[0], special=not prompt[1], detail="ends")
    length = max((i for i, end in enumerate(whole.ends, 1) if end), default=0)
    if not length:
        raise BadRow("there is nothing before the answer")
    return check_ids(loaded, whole.ids[:length])


def tokenize_answer(loaded: LoadedModel, rendered: tuple[str, bool], answer: str) -> Continuation:
    """Encode prompt and answer; the tokens that hold any of the answer or of the space before it count.

    rendered: from :func:`render_prompt`; without a chat template a space separates prompt and answer. Raises BadRow
    for an empty answer, or one with nothing before it.
    """
    prompt, chat = rendered
    gap = "" if chat or prompt[-1:].isspace() or answer[:1].isspace() else " "
    whole = encode(loaded, prompt + gap + answer, special=not chat, detail="ends")
    counted = [i for i, end in enumerate(whole.ends) if end > len(prompt)]
    if not counted:
        raise BadRow("the answer is empty")
    if counted[0] == 0:
        raise BadRow("there is nothing before the answer")
    return Continuation(tuple(check_ids(loaded, whole.ids[: counted[-1] + 1])), counted[0])


def check_ids(loaded: LoadedModel, ids: list[int]) -> list[int]:
    """Return the token numbers if the model has an embedding for each. Raises BadRow."""
    model: Any = loaded.model
    embeddings = model.get_input_embeddings()
    count, highest = embeddings.weight.shape[0], max(ids, default=0)
    if highest >= count:
        raise BadRow(
            f"the token {decode(loaded, [[highest]])[0]!r} has number {highest}, but the model has {count} "
            "embeddings: the tokenizer is of another model, or the embeddings were never resized"
        )
    return ids


def display_tokens(loaded: LoadedModel, continuation: Continuation) -> list[Token]:
    """Return the tokens for display, those that count marked."""
    texts = decode(loaded, [[token] for token in continuation.tokens])
    return [Token(text=text, loss=place >= continuation.start) for place, text in enumerate(texts)]


def context_length(loaded: LoadedModel) -> int | None:
    """Return how many tokens the model can read; None if neither config nor tokenizer says."""
    model: Any = loaded.model
    config = model.config.get_text_config()
    # RoBERTa numbers positions from after its padding token.
    starts_after_padding = getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert"}
    offset = 1 + config.pad_token_id if starts_after_padding else 0
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    limits = [positions and positions - offset, getattr(loaded.tokenizer, "model_max_length", None)]
    return min((limit for limit in limits if isinstance(limit, int) and 0 < limit < UNBOUNDED), default=None)


def check_length(loaded: LoadedModel, length: int) -> None:
    """Raise BadRow for more tokens than the model can read."""
    limit = context_length(loaded)
    if limit is not None and length > limit:
        raise BadRow(f"longer than the {limit:,} tokens that the model can read")


def check_tokenizer(task: str, loaded: LoadedModel) -> None:
    """Raise TaskMismatch if the model has no tokenizer, or one without the positions of its tokens in the text."""
    if loaded.tokenizer is None:
        raise TaskMismatch(f"Task {task!r} needs a tokenizer, but {loaded.id!r} has none.")
    if not loaded.tokenizer.is_fast:
        raise TaskMismatch(
            f"Task {task!r} needs a tokenizer that reports the positions of its tokens (tokenizer.json), but that of "
            f"{loaded.id!r} does not."
        )


def _tokenizer(loaded: LoadedModel) -> Any:
    assert loaded.tokenizer is not None
    return loaded.tokenizer
