"""Which files a model that is uploaded may consist of, by name; torch-free, so that client and API agree."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

NAMES = (
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
LARGEST_TEXT = 128 * 2**20  # of a file that is no safetensors; large tokenizers take 30 MB
MOST_FILES = 500


def allowed(name: str) -> bool:
    """Whether a file of this name may be part of a model: a plain name that is in NAMES."""
    plain = name.isascii() and name.isprintable() and not name.startswith(".") and not {"/", "\\"} & set(name)
    return plain and any(fnmatchcase(name, pattern) for pattern in NAMES)


def files_of(folder: Path) -> list[Path]:
    """The files in a folder that a model consists of; the others are left where they are."""
    return sorted(file for file in folder.iterdir() if file.is_file() and allowed(file.name))


def problems_of(files: Iterable[tuple[str, int]], most: int) -> list[str]:
    """What is wrong with files (name, bytes) that are to be uploaded, in words. most: bytes of all together."""
    known = list(files)
    names = [name for name, _ in known]
    found = [f"{name!r} is no file of a model; a model has {', '.join(NAMES)}" for name in names if not allowed(name)]
    found += [f"{name!r} is named twice" for name in sorted(set(names)) if names.count(name) > 1]
    if "config.json" not in names:
        found.append("there is no config.json")
    if not any(name.endswith(".safetensors") for name in names):
        found.append("there is no *.safetensors file")
    for name, size in known:
        if not name.endswith(".safetensors") and size > LARGEST_TEXT:
            found.append(f"{name!r} has {size:,} bytes; a file of this kind has at most {LARGEST_TEXT:,}")
    total = sum(size for _, size in known)
    if total > most:
        found.append(f"the files have {total:,} bytes; at most {most:,} are taken (MODELSHAPLEY_MAX_UPLOAD_BYTES)")
    return found
