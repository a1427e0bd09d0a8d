"""Process that renders chat templates within limits: `python -m modelshapley.models.confined.template_child`.

A template comes with a model and is a program: it can loop, and multiply texts.
Only transformers' own compiler of templates is imported, which loads no torch.
"""

from __future__ import annotations

from typing import Any

from modelshapley.models.confined.limits import answer_requests

MAX_MEMORY_BYTES = 2**30
MAX_TEXT = 4_000_000


def main() -> None:
    from jinja2.exceptions import TemplateError
    from transformers.utils.chat_template_utils import _compile_jinja_template  # what the tokenizers call

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        try:
            template = _compile_jinja_template(request["template"])
            text = template.render(tools=None, documents=None, **request["values"])
            if len(text) > MAX_TEXT:
                raise MemoryError
            return {"text": text}
        except MemoryError:
            return {"error": "needs too much memory"}
        except TemplateError as error:
            return {"refused": str(error)}
        except Exception as error:  # noqa: BLE001  # a template can raise whatever Python can
            return {"error": f"cannot be rendered: {type(error).__name__}: {error}"}

    answer_requests(answer, MAX_MEMORY_BYTES)


if __name__ == "__main__":
    main()
