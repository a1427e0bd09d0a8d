"""Texts as a model reads them: chat template, tokens, which of them count, how many fit."""

from __future__ import annotations

from functools import partial
from typing import Any

from jinja2.exceptions import TemplateError

from modelshapley.contracts.task_file import Chat
from modelshapley.contracts.tasks import Token
from modelshapley.errors import TaskMismatch
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.data import BadRow
from modelshapley.tasks.language.prefix_tree import Sequel

UNBOUNDED = 10**9  # what tokenizers say who know no limit


def asked(loaded: LoadedModel, system: str, prompt: str, chat: Chat) -> tuple[str, bool]:
    """(the text before the answer, whether the chat template made it). Raises TaskMismatch."""
    template = getattr(loaded.tokenizer, "chat_template", None)
    if chat == "yes" and not template:
        raise TaskMismatch(f"The tokenizer of {loaded.id!r} has no chat template; set `chat: auto` or `no`.")
    if chat == "no" or not template:
        return f"{system}\n\n{prompt}" if system else prompt, False
    said = [{"role": "system", "content": system}] if system else []
    told = partial(_tokenizer(loaded).apply_chat_template, tokenize=False, add_generation_prompt=True)
    try:
        text: str = told([*said, {"role": "user", "content": prompt}])
    except TemplateError:  # of a model that knows no system text: it goes before the question
        text = told([{"role": "user", "content": f"{system}\n\n{prompt}" if system else prompt}])
    return text, True


def tokens(loaded: LoadedModel, text: str) -> list[int]:
    """A whole text, with what the tokenizer puts around it."""
    found: list[int] = _tokenizer(loaded)(text)["input_ids"]
    return found


def begun(loaded: LoadedModel, before: tuple[str, bool]) -> list[int]:
    """A text to go on from, as :func:`asked` gives it: nothing of the tokenizer's behind it. Raises BadRow."""
    whole = _tokenizer(loaded)(before[0], add_special_tokens=not before[1], return_offsets_mapping=True)
    length = max((i for i, (_, end) in enumerate(whole["offset_mapping"], 1) if end), default=0)
    if not length:
        raise BadRow("there is nothing before the answer")
    found: list[int] = whole["input_ids"][:length]
    return found


def answered(loaded: LoadedModel, before: tuple[str, bool], answer: str) -> Sequel:
    """Prompt and answer as tokens, of which those count that hold any of the answer or of the space before it.

    before: as :func:`asked` gives it; without a chat template a space is put between. Raises BadRow for an empty
    answer, or one with nothing before it.
    """
    prompt, chat = before
    gap = "" if chat or prompt[-1:].isspace() or answer[:1].isspace() else " "
    whole = _tokenizer(loaded)(prompt + gap + answer, add_special_tokens=not chat, return_offsets_mapping=True)
    counted = [i for i, (_, end) in enumerate(whole["offset_mapping"]) if end > len(prompt)]
    if not counted:
        raise BadRow("the answer is empty")
    if counted[0] == 0:
        raise BadRow("there is nothing before the answer")
    return Sequel(tuple(whole["input_ids"][: counted[-1] + 1]), counted[0])


def pieces(loaded: LoadedModel, sequel: Sequel) -> list[Token]:
    """Tokens for people, those that count marked."""
    return [
        Token(text=_tokenizer(loaded).decode([token]), loss=place >= sequel.start)
        for place, token in enumerate(sequel.tokens)
    ]


def context(loaded: LoadedModel) -> int | None:
    """How many tokens the model can read; None where nothing says."""
    config: Any = loaded.model.config
    # RoBERTa counts positions from behind its padding token.
    behind = getattr(config, "model_type", "") in {"roberta", "xlm-roberta", "camembert"}
    offset = 1 + config.pad_token_id if behind else 0
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    said = [positions and positions - offset, getattr(loaded.tokenizer, "model_max_length", None)]
    return min((limit for limit in said if isinstance(limit, int) and 0 < limit < UNBOUNDED), default=None)


def check_length(loaded: LoadedModel, length: int) -> None:
    """Raise BadRow for more tokens than the model can read."""
    most = context(loaded)
    if most is not None and length > most:
        raise BadRow(f"longer than the {most:,} tokens that the model can read")


def check_tokenizer(task: str, loaded: LoadedModel) -> None:
    """Raise TaskMismatch where there is none, or none that tells where its tokens stand in the text."""
    if loaded.tokenizer is None:
        raise TaskMismatch(f"Task {task!r} needs a tokenizer, but {loaded.id!r} has none.")
    if not loaded.tokenizer.is_fast:
        raise TaskMismatch(
            f"Task {task!r} needs a tokenizer that tells where its tokens stand (tokenizer.json), but that of "
            f"{loaded.id!r} does not."
        )


def _tokenizer(loaded: LoadedModel) -> Any:
    assert loaded.tokenizer is not None
    return loaded.tokenizer
