"""Tokenizers of a submission: whatever they do, they cost bounded time and memory, and the next one reads on."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from modelshapley.errors import ModelShapleyError, UnsupportedModel
from modelshapley.models.confined import tokenizer as confined_module
from modelshapley.models.confined.process import interrupt_all
from modelshapley.models.confined.tokenizer import ConfinedTokenizer, check_tokenizer_file, confined

LONG = "a" * 100_000
SLOW = "(?:a|aa){1,16}b"  # slow at every character, yet below the limit of its engine
REPEATS = "(?:(?:(?:(?:a{1,1000}){1,1000}){1,1000}){1,1000})b"
DOUBLING = [normalizers.Replace("a", "aa")] * 40


def plain() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))


def fast(**parts: Any) -> Any:
    words = plain()
    for name, part in parts.items():
        setattr(words, name, part)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")


BEYOND_A_LIMIT: dict[str, dict[str, Any]] = {
    "a pattern that splits": {"pre_tokenizer": pre_tokenizers.Split(Regex(SLOW), "isolated")},
    "a pattern that replaces": {"normalizer": normalizers.Replace(Regex(SLOW), "x")},
    "nested repeats": {"pre_tokenizer": pre_tokenizers.Split(Regex(REPEATS), "isolated")},
    "nested patterns": {"pre_tokenizer": pre_tokenizers.Split(Regex("((a+)+)+b"), "isolated")},
    "replacements that double": {"normalizer": normalizers.Sequence(DOUBLING)},
    "a replacement of a megabyte": {"normalizer": normalizers.Replace("a", "a" * 2**20)},
    "a prefix of a megabyte for each word": {
        "pre_tokenizer": pre_tokenizers.Split("a", "isolated"),
        "normalizer": normalizers.Replace("a", "b" * 2**20),
    },
}


@pytest.mark.parametrize("what", BEYOND_A_LIMIT)
def test_a_text_that_takes_too_much_is_an_error(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined_module, "TEXT_CPU_S", 0.5)
    monkeypatch.setattr(confined_module, "CHARACTERS_PER_S", 10**6)
    words = fast(**BEYOND_A_LIMIT[what])
    child = ConfinedTokenizer(words)
    assert child.encode("").ids == []
    started = time.monotonic()
    with pytest.raises(ModelShapleyError, match=r"^The tokenizer of the model (takes longer|needs too much|fails)"):
        child.encode(LONG)
    assert time.monotonic() - started < 5
    assert child.encode("").ids == [], "it must start again"
    child.close()


WITHIN_LIMITS = {
    "padding to 10^9": lambda words: words.enable_padding(length=10**9),
    "padding to a multiple of 10^9": lambda words: words.enable_padding(pad_to_multiple_of=10**9),
    "truncation to 10^9": lambda words: words.enable_truncation(10**9),
    "truncation with windows": lambda words: words.enable_truncation(2, stride=1),
}


@pytest.mark.parametrize("what", WITHIN_LIMITS)
def test_padding_and_truncation_of_the_file_are_ignored(what: str) -> None:
    words = plain()
    words.pre_tokenizer = pre_tokenizers.Split("a", "isolated")
    WITHIN_LIMITS[what](words)
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    child = ConfinedTokenizer(whole)
    assert child.encode("aaaa").ids == [1] * 4
    child.close()


def test_decoding_is_limited_too() -> None:
    words = fast(decoder=decoders.Sequence([decoders.Replace("a", "aa")] * 40))
    child = ConfinedTokenizer(words)
    with pytest.raises(ModelShapleyError, match=r"needs too much memory|takes longer"):
        child.decode([[1] * 1000])
    assert child.decode([]) == []
    child.close()


def test_a_post_processor_that_multiplies_tokens_is_limited() -> None:
    pieces = [f"$A:{i % 2}" for i in range(200)]
    words = fast(
        pre_tokenizer=pre_tokenizers.Split("a", "isolated"),
        post_processor=processors.TemplateProcessing(single=" ".join(pieces), pair=None, special_tokens=[]),
    )
    child = ConfinedTokenizer(words)
    with pytest.raises(ModelShapleyError, match=r"tokens of one text|memory|longer"):
        child.encode(LONG)
    child.close()


def with_added(count: int) -> dict[str, Any]:
    fields = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i + 2, "content": f"<t{i}>"} | fields for i in range(count)]
    return json.loads(plain().to_str()) | {"added_tokens": added}  # type: ignore[no-any-return]


def with_pattern(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return json.loads(plain().to_str()) | {"pre_tokenizer": split}  # type: ignore[no-any-return]


FILES: dict[str, Any] = {
    "200,000 added tokens": lambda: json.dumps(with_added(200_000)),
    "a pattern that is none": lambda: json.dumps(with_pattern("(((")),
    "deep brackets": lambda: "[" * 100_000,
    "deep normalizers": lambda: (
        '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {}, "unk_token": "a"}, "normalizer": '
        + '{"type": "Sequence", "normalizers": [' * 5000
        + "]}" * 5000
        + "}"
    ),
    "half a surrogate pair": lambda: json.dumps(with_pattern("\ud800")),
    "a number of 10^400": lambda: plain().to_str().replace('"a":1', '"a":1' + "0" * 400),
    "a negative number": lambda: plain().to_str().replace('"a":1', '"a":-1'),
    "nothing": lambda: "",
    "a list": lambda: "[]",
    "another model": lambda: '{"version": "1.0", "model": {"type": "Nonsense"}}',
    "merges of nothing": lambda: '{"model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}',
    "binary": lambda: "\x00\x01" * 1000,
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_cannot_be_read_is_refused(what: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(FILES[what](), encoding="utf-8", errors="surrogatepass")
    started = time.monotonic()
    with pytest.raises(UnsupportedModel, match=r"^The tokenizer of 'local:x' cannot be loaded: "):
        check_tokenizer_file("local:x", tmp_path)
    assert time.monotonic() - started < 5


def test_an_interrupt_ends_the_request_that_waits() -> None:
    words = fast(pre_tokenizer=pre_tokenizers.Split(Regex(SLOW), "isolated"))
    child = confined(words)
    assert child.encode("a").ids == [1]
    timer = threading.Timer(0.5, interrupt_all)
    timer.start()
    started = time.monotonic()
    with pytest.raises(ModelShapleyError, match="cancelled"):
        child.encode(LONG)
    assert time.monotonic() - started < 2
    assert child.encode("a").ids == [1]
