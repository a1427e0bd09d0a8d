"""Small data, tasks and tokenizers, made where a test needs them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tokenizers
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from modelshapley.contracts.task_files.file import parse
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.catalog import TaskCatalog
from tests.support.toys import tiny

ASK: dict[str, Any] = {"kind": "generation", "prompt": "{question}", "source": {"path": "."}}
TEXTS = [
    "The cat sat on the mat, and the dog lay by the door.",
    "How many apples are 3 apples and 15 more? Answer: 18 apples.",
    "Tom has 7 coins; he gives 2 away. The answer is (C). #### 5",
    "Is it A, B, C or D? Yes, no, good, bad: all of these are words.",
    "naïve café, 東京 and emoji 🙂 need several bytes each",
]
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def jsonl(file: Path, rows: Iterable[Any]) -> Path:
    """Rows as lines; text as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def asked(count: int, first: int = 0) -> list[dict[str, str]]:
    """Questions whose answers rule 'exact' finds."""
    return [{"question": f"what is {i}?", "answer": str(i)} for i in range(first, first + count)]


def task(root: Path, kind: Mapping[str, Any] = ASK, **fields: Any) -> Any:
    """The working task of a task file whose data lie under `root`."""
    return TaskCatalog([root]).open(parse({"name": "mine", **kind, **fields}, "mine"))


def picture(seed: int, size: int = 8, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


def tokenizer(kind: str = "bpe", bos: bool = False, eos: bool = False, chat: bool = False, **more: Any) -> Any:
    """kind: 'bpe' (bytes, as GPT-2's) or 'words'. bos, eos: put around a text by the tokenizer itself."""
    if kind == "bpe":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        made = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(special_tokens=[*SPECIAL, "<unk>"], show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    single = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
    if bos or eos:
        made.post_processor = processors.TemplateProcessing(
            single=single,
            pair=f"{single} $B:1{' </s>:1' if eos else ''}",
            special_tokens=[("<s>", made.token_to_id("<s>")), ("</s>", made.token_to_id("</s>"))],
        )
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", bos_token="<s>", **more
    )
    found.chat_template = CHAT if chat else None
    return found


def model(config: Any, words: Any, seed: int = 0, **changes: Any) -> LoadedModel:
    """A tiny random model of this config that reads with this tokenizer."""
    config = type(config)(**config.to_diff_dict() | {"vocab_size": len(words), "pad_token_id": 0} | changes)
    return replace(tiny(config, seed), tokenizer=words, id=f"{config.model_type}-{id(words)}-{seed}")
