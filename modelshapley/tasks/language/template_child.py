"""Process that renders chat templates within limits of memory: `python -m modelshapley.tasks.language.template_child`.

A template comes with a model and is a program: it can loop, and multiply texts. Requests and answers are lines of JSON.
Only transformers' own compiler of templates is imported, which loads no torch.
"""

from __future__ import annotations

import json
import resource
import signal
import sys

MAX_MEMORY_BYTES = 2**30
MAX_TEXT = 4_000_000


def main() -> None:
    from jinja2.exceptions import TemplateError
    from transformers.utils.chat_template_utils import _compile_jinja_template  # what the tokenizers call

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        # Ends this process even if nobody waits for it any more, and whatever the template does.
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        try:
            template = _compile_jinja_template(request["template"])
            text = template.render(tools=None, documents=None, **request["values"])
            if len(text) > MAX_TEXT:
                raise MemoryError
            answer = {"text": text}
        except MemoryError:
            answer = {"error": "needs too much memory"}
        except TemplateError as error:
            answer = {"refused": str(error)}
        except Exception as error:  # noqa: BLE001  # a template can raise whatever Python can
            answer = {"error": f"cannot be rendered: {type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
