"""Tokenising in another process equals transformers' own, and costs about as much."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import transformers

from modelshapley.models.catalog import Catalog
from modelshapley.models.confined import tokenizer as confined_module
from modelshapley.models.confined.tokenizer import MAX_PROCESSES, confined
from tests.support.task_data import tokenizer

TEXTS = ["", " ", "What is 7 + 8?", "a\n\n b  c", "naïve Ω 漢字 🙂 e\u0301", "<s> hidden </s> <pad>", "x" * 3000]
KINDS: dict[str, dict[str, Any]] = {
    "pairs of bytes": {},
    "around a text": {"bos": True, "eos": True},
    "words": {"kind": "words"},
    "words, cleaned": {"kind": "words", "clean_up_tokenization_spaces": True},
    "pairs of bytes, cleaned": {"clean_up_tokenization_spaces": True},
    "special tokens split": {"split_special_tokens": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_equals_transformers(kind: str) -> None:
    own = tokenizer(**KINDS[kind])
    child = confined(own)
    rows = []
    for text in TEXTS:
        for special in (True, False):
            expected = own(text, add_special_tokens=special, return_offsets_mapping=True)
            encoding = child.encode(text, special=special, detail="ends")
            assert encoding.ids == expected["input_ids"]
            assert encoding.ends == [end for _, end in expected["offset_mapping"]]
        pair = own(text, "and then", return_token_type_ids=True)
        assert child.encode(text, "and then", detail="types")[::2] == (pair["input_ids"], pair["token_type_ids"])
        rows.append(encoding.ids)
    for skip in (True, False):
        assert child.decode(rows, skip) == own.batch_decode(rows, skip_special_tokens=skip)


def test_equals_transformers_on_a_real_tokenizer(prepared_data: Path) -> None:
    own = transformers.AutoTokenizer.from_pretrained(Catalog(prepared_data).smollm2_folder)
    for text in TEXTS:
        expected = own(text, return_offsets_mapping=True)
        encoding = confined(own).encode(text, detail="ends")
        assert encoding.ids == expected["input_ids"]
        assert encoding.ends == [end for _, end in expected["offset_mapping"]]
        assert confined(own).decode([encoding.ids]) == [own.decode(encoding.ids)]


def test_processes_are_few_and_end_with_their_tokenizers() -> None:
    own = [tokenizer() for _ in range(MAX_PROCESSES + 2)]
    expected = own[0]("seven")["input_ids"]
    assert all(confined(one).encode("seven").ids == expected for one in own)
    assert len(confined_module._PROCESSES) == MAX_PROCESSES
    assert confined(own[0]).encode("seven").ids == expected, "one that was dropped starts again"
    children = [child._process for child in confined_module._PROCESSES.values()]
    del own
    gc.collect()
    assert not confined_module._PROCESSES
    assert all(child.pid is None for child in children)
