"""Tokenising in a process with limits of time and memory: a tokenizer comes with a model and is nearly a program."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.models.confined.process import ConfinedProcess, LimitExceeded

MAX_PROCESSES = 4  # tokenizers that keep a process; others start one again
LOAD_CPU_S = 30.0  # for a tokenizer.json of the largest size; one of 16 MB takes 1.5 s
TEXT_CPU_S = 2.0  # for one text, besides its length; an ordinary one of 1,000 characters takes 0.3 ms
CHARACTERS_PER_S = 50_000  # ordinary tokenizers read twenty times as many
MAX_ADDED_TOKENS = 100_000  # transformers takes 4 s for them, in the worker's own process
MAX_ANSWER_BYTES = 256 * 2**20
MAX_REASON = 300


Detail = Literal["none", "ends", "types"]


class Encoding(NamedTuple):
    """Tokens of a text. ends: where each token ends in the text (0 for special tokens). types: token type ids.

    The last two are empty unless they are asked for.
    """

    ids: list[int]
    ends: list[int]
    types: list[int]


class ConfinedTokenizer:
    """A process that holds one of transformers' fast tokenizers, and encodes and decodes as that does."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = weakref.ref(tokenizer)
        self._process = _new_process()
        self._holder: int | None = None  # the process that has loaded the tokenizer

    def encode(self, text: str, pair: str | None = None, special: bool = True, detail: Detail = "none") -> Encoding:
        """Encode a text or a pair. special: whether special tokens are added. Raises ModelShapleyError."""
        request = {"do": "encode", "text": text, "pair": pair, "special": special, "detail": detail}
        answer = self._ask(request, len(text) + len(pair or ""))
        return Encoding(answer["ids"], answer.get("ends", []), answer.get("types", []))

    def decode(self, rows: Sequence[Sequence[int]], skip_special: bool = False) -> list[str]:
        """Decode the tokens of each row. Raises ModelShapleyError."""
        rows = [list(row) for row in rows]
        answer = self._ask({"do": "decode", "rows": rows, "skip_special": skip_special}, 4 * sum(map(len, rows)))
        tokenizer = self._tokenizer()
        if tokenizer is not None and _cleans_up(tokenizer):
            return [tokenizer.clean_up_tokenization(text) for text in answer["texts"]]
        texts: list[str] = answer["texts"]
        return texts

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(self, request: dict[str, Any], characters: int) -> dict[str, Any]:
        if self._holder is None or self._holder != self._process.pid:
            tokenizer = self._tokenizer()
            assert tokenizer is not None
            _checked(
                self._process,
                {
                    "do": "load",
                    "json": tokenizer.backend_tokenizer.to_str(),
                    "split_special": bool(tokenizer.split_special_tokens),
                },
                LOAD_CPU_S,
            )
            self._holder = self._process.pid
        return _checked(self._process, request, TEXT_CPU_S + characters / CHARACTERS_PER_S)


def check_tokenizer_file(model: str, folder: Path) -> None:
    """Read a folder's tokenizer.json within limits, before transformers reads it without any.

    Raises UnsupportedModel for one that cannot be read so.
    """
    file = folder / "tokenizer.json"
    if not file.exists():
        return
    process = _new_process()
    try:
        added = _checked(process, {"do": "inspect", "path": str(file.resolve())}, LOAD_CPU_S)["added"]
    except ModelShapleyError as error:
        raise UnsupportedModel(f"The tokenizer of {model!r} cannot be loaded: {error}") from None
    finally:
        process.close()
    if added > MAX_ADDED_TOKENS:
        raise UnsupportedModel(
            f"The tokenizer of {model!r} cannot be loaded: its tokenizer.json adds {added:,} tokens to its vocabulary; "
            f"at most {MAX_ADDED_TOKENS:,} are read."
        )


def confined(tokenizer: Any) -> ConfinedTokenizer:
    """Return the process of a tokenizer, starting it if need be. Those used last are kept."""
    key = id(tokenizer)
    with _LOCK:
        found = _PROCESSES.get(key)
        if found is None:
            found = _PROCESSES[key] = ConfinedTokenizer(tokenizer)
            weakref.finalize(tokenizer, _forget, key).atexit = False
        _PROCESSES.move_to_end(key)
        dropped = [_PROCESSES.popitem(last=False)[1] for _ in range(len(_PROCESSES) - MAX_PROCESSES)]
    for other in dropped:
        other.close()
    return found


_PROCESSES: OrderedDict[int, ConfinedTokenizer] = OrderedDict()
_LOCK = threading.RLock()  # a tokenizer can be collected, and so forgotten, while its own thread holds the lock


def _forget(key: int) -> None:
    with _LOCK:
        found = _PROCESSES.pop(key, None)
    if found is not None:
        found.close()


@atexit.register
def _close_all() -> None:
    for key in list(_PROCESSES):
        _forget(key)


def _new_process() -> ConfinedProcess:
    return ConfinedProcess("modelshapley.models.confined.tokenizer_child", "tokenises", MAX_ANSWER_BYTES)


def _checked(process: ConfinedProcess, request: dict[str, Any], cpu_s: float) -> dict[str, Any]:
    """Return an answer. Raises ModelShapleyError with the reason if there is none."""
    try:
        answer = process.ask(request, cpu_s)
    except LimitExceeded as error:
        hint = " for one text; use shorter texts, or another model" if request["do"] == "encode" else ""
        answer = {"error": f"{error}{hint}"}
    if "error" in answer:
        raise ModelShapleyError(f"The tokenizer of the model {answer['error'][:MAX_REASON]}.")
    return answer


def _cleans_up(tokenizer: Any) -> bool:
    """Return whether transformers removes spaces before punctuation from decoded text: never for byte pairs."""
    if not tokenizer.clean_up_tokenization_spaces:
        return False
    pairs = type(tokenizer.backend_tokenizer.model).__name__ == "BPE"
    return not pairs or bool(tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output)
