"""Rows with choices, of which one is right."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from modelshapley.contracts.task_file import _Asked, placeholders
from modelshapley.tasks.data import BadRow, Row, short
from modelshapley.tasks.kinds.data_task import filled


def choices_of(spec: _Asked, row: Row) -> list[str]:
    """A row's choices, in order. Raises BadRow."""
    if spec.choices is not None:
        return [filled(choice, row) for choice in spec.choices]
    found: Any = row.get(str(spec.choices_column))
    if isinstance(found, dict):  # {"text": [...], "label": [...]}, as some datasets have it
        found = found.get("text")
    if not isinstance(found, list) or len(found) < 2:
        raise BadRow(f"column {spec.choices_column!r} holds no list of choices")
    if any(choice is None or isinstance(choice, list | dict) for choice in found):
        raise BadRow(f"a choice in column {spec.choices_column!r} is no text")
    if len(found) > len(ascii_uppercase):
        raise BadRow(f"{len(found)} choices, more than there are letters")
    return [str(choice) for choice in found]


def right_of(spec: _Asked, row: Row, choices: list[str]) -> int:
    """The number of the right choice. Raises BadRow.

    A number counts from 0, whatever the choices are. Text is that of a choice, its letter, or its number; where
    these tell different choices, it tells none.
    """
    value: Any = row.get(spec.key)
    if value is None or value == "":
        raise BadRow(f"nothing in column {spec.key!r}")
    letters = ascii_uppercase[: len(choices)]
    numbers = {str(i): i for i in range(len(choices))}
    told = str(value).strip()
    if isinstance(value, int) and not isinstance(value, bool):
        found = {numbers.get(told)}
    else:
        letter = told.strip("().").upper()
        by_text = choices.index(told) if told in choices else None
        found = {by_text, letters.index(letter) if letter and letter in letters else None, numbers.get(told)}
    found.discard(None)
    if len(found) > 1:
        raise BadRow(
            f"the answer {short(told)} tells several choices, by its text and by its letter or number; give the "
            "number of the right one from 0, as a number"
        )
    if not found:
        raise BadRow(f"the answer {short(value)} is none of the {len(choices)} choices")
    return found.pop() or 0


def lettered(choices: list[str]) -> str:
    """'A. one', 'B. other', a line each."""
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))


def question_of(spec: _Asked, row: Row) -> tuple[str, list[str], int | None]:
    """(prompt, choices, number of the right one) of a row; no choices and None where the task has none.

    In templates {choices} are the choices with their letters and {letter} is the right one's. Raises BadRow.
    """
    if not spec.has_choices:
        return filled(spec.prompt, row), [], None
    choices = choices_of(spec, row)
    prompt = filled(spec.prompt, row, lambda name: lettered(choices) if name == "choices" else None)
    return prompt, choices, right_of(spec, row, choices)


def needed_columns(spec: _Asked, *templates: str) -> list[str]:
    """The columns that a row must have for its prompt, its choices and these templates."""
    names = [name for template in (spec.prompt, *templates, *(spec.choices or ())) for name in placeholders(template)]
    if spec.has_choices:
        names = [name for name in names if name not in ("choices", "letter")]
        names += [spec.key, *([spec.choices_column] if spec.choices_column else [])]
    return list(dict.fromkeys(names))
