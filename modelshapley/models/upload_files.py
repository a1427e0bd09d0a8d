"""Names of the files that an uploaded model may consist of; torch-free, so that client and API agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

ALLOWED_NAMES = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
MAX_TEXT_BYTES = 128 * 2**20  # for files other than safetensors; large tokenizers take 30 MB
MAX_FILES = 500


def is_allowed(name: str) -> bool:
    """Return whether a file of this name may be part of a model: a plain name that matches ALLOWED_NAMES."""
    plain = name.isascii() and name.isprintable() and not name.startswith(".") and not {"/", "\\"} & set(name)
    return plain and any(fnmatchcase(name, pattern) for pattern in ALLOWED_NAMES)


def files_of(folder: Path) -> list[Path]:
    """Return the files in a folder that belong to a model; others are not uploaded."""
    return sorted(file for file in folder.iterdir() if file.is_file() and is_allowed(file.name))


def problems_of(files: Iterable[tuple[str, int]], max_bytes: int) -> list[str]:
    """Describe what is wrong with files (name, bytes) to upload. max_bytes: limit for all together."""
    listed = list(files)
    names = Counter(name for name, _ in listed)
    problems = [
        f"{name!r} is not a file of a model; a model may have {', '.join(ALLOWED_NAMES)}"
        for name in names
        if not is_allowed(name)
    ]
    problems += [f"{name!r} is named twice" for name, count in sorted(names.items()) if count > 1]
    if "config.json" not in names:
        problems.append("there is no config.json")
    if not any(name.endswith(".safetensors") for name in names):
        problems.append("there is no *.safetensors file")
    for name, size in listed:
        if not name.endswith(".safetensors") and size > MAX_TEXT_BYTES:
            problems.append(f"{name!r} has {size:,} bytes; a file of this kind has at most {MAX_TEXT_BYTES:,}")
    total = sum(size for _, size in listed)
    if total > max_bytes:
        problems.append(
            f"the files have {total:,} bytes; at most {max_bytes:,} are taken (MODELSHAPLEY_MAX_UPLOAD_BYTES)"
        )
    return problems
