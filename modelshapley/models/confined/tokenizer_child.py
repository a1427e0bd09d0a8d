"""Process that tokenises within limits: `python -m modelshapley.models.confined.tokenizer_child`.

A tokenizer comes with a model and can take time without end, by its patterns, and multiply texts, by its replacements.
It runs the library behind transformers' tokenizers alone, which starts in 50 ms and needs 16 MB.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from modelshapley.models.confined.limits import answer_requests

MAX_MEMORY_BYTES = 2 * 2**30  # a vocabulary of 360,000 with as many merges takes 0.4 GB
MAX_TOKENS = 4_000_000
MAX_DECODED = 4_000_000  # characters


class Child:
    """Holds one tokenizer."""

    def __init__(self) -> None:
        self.tokenizer: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a request, or {"error": why there is none}."""
        try:
            result: dict[str, Any] = getattr(self, f"_{request['do']}")(request)
        except MemoryError:
            return {"error": "needs too much memory"}
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # a panic of a Rust library is no Exception
            return {"error": f"fails ({str(error) or type(error).__name__})"}
        return result

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        self.tokenizer = Tokenizer.from_str(request["json"])
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = request["split_special"]
        return {}

    def _inspect(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read a tokenizer.json, and keep nothing."""
        return {"added": len(Tokenizer.from_file(request["path"]).get_added_tokens_decoder())}

    def _encode(self, request: dict[str, Any]) -> dict[str, Any]:
        encoding = self.tokenizer.encode(request["text"], request["pair"], add_special_tokens=request["special"])
        if len(encoding) > MAX_TOKENS:
            return {"error": f"makes {len(encoding):,} tokens of one text; at most {MAX_TOKENS:,} are read"}
        result: dict[str, Any] = {"ids": encoding.ids}
        if request["detail"] == "ends":
            result["ends"] = [end for _, end in encoding.offsets]
        elif request["detail"] == "types":
            result["types"] = encoding.type_ids
        return result

    def _decode(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = [self.tokenizer.decode(row, skip_special_tokens=request["skip_special"]) for row in request["rows"]]
        if sum(map(len, texts)) > MAX_DECODED:
            raise MemoryError
        return {"texts": texts}


if __name__ == "__main__":
    answer_requests(Child().answer, MAX_MEMORY_BYTES)
