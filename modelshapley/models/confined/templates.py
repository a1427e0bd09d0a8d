"""Chat templates, rendered in a process of their own within limits of time and memory."""

from __future__ import annotations

import atexit
import json
from collections.abc import Sequence
from typing import Any

from modelshapley.errors import ModelShapleyError
from modelshapley.models.confined.process import ConfinedProcess, LimitExceeded

RENDER_CPU_S = 10.0
MAX_ANSWER_BYTES = 32 * 2**20
MAX_REASON = 300


class TemplateRefusal(Exception):
    """The template itself refuses the messages, such as a system message."""


class TemplateRenderer:
    """Renders templates, each in at most `cpu_s` seconds of CPU time."""

    def __init__(self, cpu_s: float = RENDER_CPU_S) -> None:
        self._cpu_s = cpu_s
        child = "modelshapley.models.confined.template_child"
        self._process = ConfinedProcess(child, "renders chat templates", MAX_ANSWER_BYTES)

    def render(self, template: str, messages: Sequence[dict[str, str]], special_tokens: dict[str, Any]) -> str:
        """Render messages. Raises TemplateRefusal, and ModelShapleyError for a template that exceeds a limit."""
        values = {**special_tokens, "messages": list(messages), "add_generation_prompt": True}
        request = {"template": template, "values": json.loads(json.dumps(values, default=str))}
        try:
            answer = self._process.ask(request, self._cpu_s)
        except LimitExceeded as error:
            answer = {"error": str(error)}
        if "refused" in answer:
            raise TemplateRefusal(answer["refused"])
        if "error" in answer:
            raise ModelShapleyError(f"The chat template of the model {answer['error'][:MAX_REASON]}.")
        return str(answer["text"])

    def close(self) -> None:
        """End the process."""
        self._process.close()


RENDERER = TemplateRenderer()
atexit.register(RENDERER.close)
