"""The methods of :class:`modelshapley.client.Client` for prompts by hand."""

from __future__ import annotations

from collections.abc import Iterator

import modelshapley.client.calls as calls
from modelshapley.client.sender import Sender, until_ended
from modelshapley.contracts import MapData, PromptEvent, Run
from modelshapley.contracts.prompts import (
    Prompt,
    PromptComparison,
    PromptMap,
    PromptMapRequest,
    PromptRequest,
)
from modelshapley.units import UnitKind


class PromptMethods(Sender):
    """Prompts by hand, their answers, comparisons and maps."""

    def submit_prompt(self, request: PromptRequest) -> Prompt:
        """Queue a prompt; see :meth:`prompt_events` and :meth:`answer`."""
        return self.send(calls.submit_prompt(request))

    def prompt(self, prompt_id: str) -> Prompt:
        """Return a prompt with its answer; it is kept for an hour."""
        return self.send(calls.prompt(prompt_id))

    def prompt_events(self, prompt_id: str) -> Iterator[PromptEvent]:
        """Yield the tokens of both columns as they are written, and each change of status, until the prompt ends."""
        for sse in self.stream(f"/prompts/{prompt_id}/events"):
            event = PromptEvent.model_validate({"id": sse.id, "event": sse.event, "data": sse.json()})
            yield event
            if isinstance(event.data, Prompt) and event.data.status.ended:
                return

    def answer(self, request: PromptRequest) -> Prompt:
        """Submit a prompt, block until it has ended, and return it."""
        submitted = self.submit_prompt(request)
        for _ in self.prompt_events(submitted.id):
            pass
        return self.prompt(submitted.id)

    def cancel_prompt(self, prompt_id: str) -> Prompt:
        """Cancel an open prompt; one that is being answered stops after its current token."""
        return self.send(calls.cancel_prompt(prompt_id))

    def prompt_comparison(self, prompt_id: str) -> PromptComparison:
        """Return both states of the model at each token of the intact answer of a finished prompt."""
        return self.send(calls.prompt_comparison(prompt_id))

    def map_answer(self, prompt_id: str, request: PromptMapRequest | None = None) -> PromptMap:
        """Block until all units have been scored for the answer; see :meth:`answer_scores`."""
        state = self.send(calls.map_answer(prompt_id, request or PromptMapRequest()))
        return until_ended(lambda: self.send(calls.answer_map(prompt_id)), state)

    def answer_scores(self, prompt_id: str, unit: UnitKind | str, columns: int | None = None) -> MapData:
        """Fetch the scores of one kind of unit for the answer."""
        return self.send(calls.answer_scores(prompt_id, unit, columns))

    def keep_prompt(self, prompt_id: str, request: PromptMapRequest | None = None) -> Run:
        """Keep the answer as a task with one example, and submit a run on it."""
        return self.send(calls.keep_prompt(prompt_id, request or PromptMapRequest()))
