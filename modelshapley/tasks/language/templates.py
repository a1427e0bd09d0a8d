"""Chat templates, rendered in a process of their own within limits of time and memory."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from modelshapley.errors import ModelShapleyError

RENDER_TIMEOUT_S = 10.0
START_TIMEOUT_S = 120.0  # the process imports transformers' utilities first, which a busy machine takes long for
ORPHAN_S = 5.0  # after its time, a process that nobody ends any more ends itself
MAX_ANSWER_BYTES = 32 * 2**20
MAX_REASON = 300


class TemplateRefusal(Exception):
    """The template itself refuses the messages, such as a system message."""


class TemplateRenderer:
    """A process that renders templates one after the other; it is started when first needed, and after each failure."""

    def __init__(self, timeout: float = RENDER_TIMEOUT_S) -> None:
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def render(self, template: str, messages: Sequence[dict[str, str]], special_tokens: dict[str, Any]) -> str:
        """Render messages. Raises TemplateRefusal, and ModelShapleyError for a template that exceeds a limit."""
        values = {**special_tokens, "messages": list(messages), "add_generation_prompt": True}
        request = {"template": template, "values": values, "seconds": self._timeout + ORPHAN_S}
        with self._lock:
            answer = self._ask(json.dumps(request, default=str).encode() + b"\n")
        if "refused" in answer:
            raise TemplateRefusal(answer["refused"])
        if "error" in answer:
            raise ModelShapleyError(f"The chat template of the model {answer['error'][:MAX_REASON]}.")
        return str(answer["text"])

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _ask(self, request: bytes) -> dict[str, str]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = _line(process, self._timeout)
        except BrokenPipeError:
            line = b""
        if line is None:
            self.close()
            return {"error": f"takes longer than {self._timeout:g} s"}
        if not line.endswith(b"\n"):
            self.close()
            return {"error": "needs too much memory or time"}
        answer: dict[str, str] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the process. Raises ModelShapleyError if it does not answer."""
        self.close()
        command = [sys.executable, "-m", "modelshapley.tasks.language.template_child"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if _line(self._process, START_TIMEOUT_S) != b"ready\n":
            self.close()
            raise ModelShapleyError("The process that renders chat templates did not start; see the log.")
        return self._process


def _line(process: subprocess.Popen[bytes], timeout: float) -> bytes | None:
    """Return the next line of a process; None if it does not come in time, less than a line if the process ended."""
    assert process.stdout is not None
    line, deadline = b"", time.monotonic() + timeout
    while not line.endswith(b"\n") and len(line) < MAX_ANSWER_BYTES:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        block = os.read(process.stdout.fileno(), 1 << 20)
        if not block:
            break
        line += block
    return line


RENDERER = TemplateRenderer()
atexit.register(RENDERER.close)
