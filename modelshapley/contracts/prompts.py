"""Prompts by hand: what the intact model answers, and what it answers with some units off. Torch-free."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from modelshapley.contracts.base import Contract, Modality, Status, Whole, refuse_repeats
from modelshapley.contracts.task_files.file import Chat
from modelshapley.contracts.trials import Off, Waiting
from modelshapley.units import DEFAULT_KINDS, OFF, Treatment, UnitKind

MAX_PROMPT = 20_000  # characters; the template of a task has the same limit
MAX_IMAGE = 900_000  # characters of a data URL: with it, a kept task stays within the limit of task files
MAX_NEW_TOKENS = 512
Finish = Literal["end", "length"]


class PromptSettings(Contract):
    """How an answer is written. Both columns draw the same random numbers, so that only the model differs."""

    chat: Chat = Field(default="auto", description="whether to apply the model's chat template")
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = Field(
        default=0.0, description="0 takes the likeliest token; above, tokens are drawn from the scaled distribution"
    )
    seed: Whole = Field(default=0, ge=0, le=2**31 - 1, description="the same seed gives the same text")
    max_new_tokens: Whole = Field(default=64, ge=1, le=MAX_NEW_TOKENS, description="largest number of tokens to write")


class PromptRequest(PromptSettings):
    """Request for an answer: a text for a causal language model, or a picture for a model that classifies pictures.

    `run`: a finished run of the model; means and offsets are those of its task. `session`: a name of the caller's
    choice; a newer prompt of the same session supersedes older ones.
    """

    model: str | None = Field(default=None, min_length=1, max_length=200)
    run: str | None = Field(default=None, min_length=1, max_length=64)
    prompt: str | None = Field(default=None, max_length=MAX_PROMPT, examples=["The capital of France is"])
    image: str | None = Field(
        default=None, max_length=MAX_IMAGE, description="a picture as a data URL (data:image/png;base64,...)"
    )
    off: Off = Field(default=Off(), description="units for the second column; without units there is only one")
    treatment: Treatment = Field(default=OFF, description="what is done to the units; default: switch them off")
    session: str | None = Field(default=None, min_length=1, max_length=64)
    lease: StrictBool = Field(
        default=False,
        description="end the prompt once nobody has followed its events for 15 seconds, as pages of the dashboard ask",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.model is None) == (self.run is None):
            raise ValueError("give either 'model', or 'run', a finished run of it")
        if (self.prompt is None) == (self.image is None):
            raise ValueError("give either 'prompt', a text, or 'image', a picture as a data URL")
        if self.prompt is not None and not self.prompt.strip():
            raise ValueError("'prompt' is empty; write what the model should continue or answer")
        return self


class PromptToken(Contract):
    """One written token.

    text: what it adds to the text, '' for the end and within a character of several tokens. probability: of this token
    in the model's own distribution, at temperature 1. end: whether it ends the text.
    """

    id: int
    text: str
    probability: float
    end: bool = False


class PromptColumn(Contract):
    """One column: the answer of one state of the model, as far as it is written. finish: null while it is written."""

    tokens: list[PromptToken] = []
    finish: Finish | None = None

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


class PromptStep(Contract):
    """What one step adds to each column: a token, or null for a column that has ended."""

    intact: PromptToken | None = None
    changed: PromptToken | None = None


class NextToken(Contract):
    """A possible next token, or class of a picture, with its probability in both states of the model."""

    id: int
    text: str
    intact: float
    changed: float


class Position(Contract):
    """One token of the intact answer, given all before it, in both states of the model.

    loss_intact, loss_changed: minus its log-likelihood, nats. kl: divergence KL(intact || changed) of the
    distributions of the next token, nats. next: the likeliest tokens of both states, and those whose probability
    differs most, the likeliest of the intact model first.
    """

    id: int
    text: str
    loss_intact: float
    loss_changed: float
    kl: float
    next: list[NextToken]


class PromptComparison(Contract):
    """Both states of the model on the intact answer, so that the positions are the same."""

    positions: list[Position]


class Prompt(Contract):
    """An answer to a prompt, and its state. `changed`: the column with units off; null without units."""

    id: str
    status: Status
    model: str
    run: str | None = None
    modality: Modality
    off: Off = Off()
    treatment: Treatment = OFF
    counts: dict[UnitKind, int] = {}
    rendered: bool = Field(default=False, description="whether the chat template was applied")
    prompt_tokens: int = Field(default=0, description="tokens before the answer")
    intact: PromptColumn = PromptColumn()
    changed: PromptColumn | None = None
    error: str | None = None
    owner: str | None = Field(default=None, description="name of the key that submitted it; null without named keys")
    waiting: Waiting | None = Field(default=None, description="what it waits for, while it is queued")
    created: datetime


class PromptMapRequest(Contract):
    """Request for a map of one answer. method: as for a run; units: all but rows by default."""

    method: str = Field(default="two-sided", min_length=1, max_length=200)
    units: list[UnitKind] = Field(
        default_factory=lambda: list(DEFAULT_KINDS), min_length=1, max_length=len(UnitKind), description="kinds of unit"
    )

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        refuse_repeats("units", self.units)
        return self


class PromptMap(Contract):
    """State of the map of one answer; once done, each of `units` can be fetched for an hour."""

    prompt: str
    status: Status
    method: str
    units: list[UnitKind] = []
    error: str | None = None
