"""A prompt as a model reads it: its tokens, and how many more there is room for."""

from __future__ import annotations

from dataclasses import dataclass

from modelshapley.contracts.prompts import PromptSettings
from modelshapley.errors import BadPrompt
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.answer_task import CAUSAL, mismatch
from modelshapley.tasks.data import BadRow
from modelshapley.tasks.language import text


@dataclass(frozen=True)
class ReadPrompt:
    """tokens: of the prompt. limit: tokens that may be written. rendered: whether the chat template was applied."""

    tokens: list[int]
    limit: int
    rendered: bool


def read_prompt(loaded: LoadedModel, prompt: str, settings: PromptSettings) -> ReadPrompt:
    """Render and tokenise a prompt. Raises TaskMismatch for another kind of model, BadPrompt."""
    if loaded.anatomy.auto_class != CAUSAL:
        raise mismatch("A prompt", CAUSAL, loaded.id, loaded.anatomy.auto_class)
    text.check_tokenizer("prompt", loaded)
    if not prompt.strip():
        raise BadPrompt("The prompt is empty; write what the model should continue or answer.")
    rendered = text.render_prompt(loaded, "", prompt, settings.chat)
    try:
        tokens = text.tokenize_prompt(loaded, rendered)
    except BadRow as error:
        raise BadPrompt(f"The prompt cannot be used: {error}.") from None
    room = (text.context_length(loaded) or text.UNBOUNDED) - len(tokens)
    if room < 1:
        raise BadPrompt(
            f"The prompt has {len(tokens):,} tokens, but {loaded.id!r} reads at most "
            f"{text.context_length(loaded):,} with its answer; shorten it."
        )
    return ReadPrompt(tokens, min(settings.max_new_tokens, room), rendered[1])
