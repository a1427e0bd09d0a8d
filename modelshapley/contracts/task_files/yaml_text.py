"""YAML and JSON of a submission, within limits of depth, length and number of values. Torch-free."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

MAX_DEPTH = 32
MAX_VALUES = 150_000
MAX_NUMBER_LENGTH = 64
# libyaml reads a hundred times faster than the parser in Python, and its time does not grow with the depth squared.
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# The numbers of YAML 1.1 without those to base 60 ("1:30:00"), which take time with the square of their length, and
# which nobody means.
_INTEGER = re.compile(r"^[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _Loader(_BASE):  # type: ignore[misc]  # its base is chosen above
    """Safe loader without numbers to base 60."""


def _resolvers() -> dict[str, list[tuple[str, Any]]]:
    integer, fraction = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
    kept = {
        first: [pair for pair in pairs if pair[0] not in (integer, fraction)]
        for first, pairs in _BASE.yaml_implicit_resolvers.items()
    }
    for first in "-+0123456789.":
        kept.setdefault(first, []).extend([(integer, _INTEGER), (fraction, _FLOAT)])
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()


def load(text: str) -> Any:
    """Read a text as JSON or else as YAML. Raises ValueError that says what is wrong with it."""
    try:
        return json.loads(text)  # YAML reads most JSON, but not its tabs and surrogate pairs
    except (ValueError, RecursionError):
        return load_yaml(text)


def load_yaml(text: str) -> Any:
    """Read a text as YAML. Raises ValueError that says what is wrong with it."""
    try:
        _check(text)
        node = _Loader(text).get_single_node()
        _refuse_repeated_keys(node)
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"cannot be read as YAML or JSON: {error}") from None


def _refuse_repeated_keys(root: Any) -> None:
    """Raise ValueError for a mapping with a key twice, of which YAML would take the last without a word."""
    nodes = [root] if root is not None else []
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise ValueError(f"it has the key {key.value[:80]!r} twice, again in line {line}")
                    seen.add(key.value)
                nodes.append(value)


def dump(data: Any, allow_unicode: bool) -> str:
    """Write a mapping as YAML, in its order."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(data, Dumper=dumper, sort_keys=False, width=100, allow_unicode=allow_unicode))


def _check(text: str) -> None:
    """Raise ValueError for a text whose reading would cost more than its length, before anything is built."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if getattr(event, "anchor", None) is not None:
            raise ValueError("it has anchors (&name, *name), which are not read; write each value out")
        if isinstance(event, yaml.ScalarEvent):
            values += 1
            if not event.style and len(event.value) > MAX_NUMBER_LENGTH and _is_number(event.value):
                raise ValueError(f"the number {event.value[:20]}... has {len(event.value):,} digits")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if values > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES:,} values; is it the data?")


def _is_number(text: str) -> bool:
    return any(pattern.match(text) for pattern in (_INTEGER, _FLOAT))
