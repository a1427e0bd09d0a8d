"""Reading questions with choices, one of them right, from rows."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from modelshapley.contracts.task_file import PromptedTask, placeholders
from modelshapley.tasks.data import BadRow, Row, shorten
from modelshapley.tasks.kinds.data_task import fill_template


def get_choices(spec: PromptedTask, row: Row) -> list[str]:
    """Return a row's choices, in order. Raises BadRow."""
    if spec.choices is not None:
        return [fill_template(choice, row) for choice in spec.choices]
    values: Any = row.get(str(spec.choices_column))
    if isinstance(values, dict):  # {"text": [...], "label": [...]}, as some datasets have it
        values = values.get("text")
    if not isinstance(values, list) or len(values) < 2:
        raise BadRow(f"column {spec.choices_column!r} holds no list of choices")
    if any(choice is None or isinstance(choice, list | dict) for choice in values):
        raise BadRow(f"a choice in column {spec.choices_column!r} is no text")
    if len(values) > len(ascii_uppercase):
        raise BadRow(f"{len(values)} choices, more than there are letters")
    return [str(choice) for choice in values]


def right_choice(spec: PromptedTask, row: Row, choices: list[str]) -> int:
    """Return the number of the right choice. Raises BadRow.

    A number counts from 0, whatever the choices are. Text is that of a choice, its letter, or its number; text that
    can mean different choices is rejected as ambiguous.
    """
    value: Any = row.get(spec.key)
    if value is None or value == "":
        raise BadRow(f"nothing in column {spec.key!r}")
    letters = ascii_uppercase[: len(choices)]
    numbers = {str(i): i for i in range(len(choices))}
    text = str(value).strip()
    if isinstance(value, int) and not isinstance(value, bool):
        candidates = {numbers.get(text)}
    else:
        letter = text.strip("().").upper()
        by_text = choices.index(text) if text in choices else None
        candidates = {by_text, letters.index(letter) if letter and letter in letters else None, numbers.get(text)}
    candidates.discard(None)
    if len(candidates) > 1:
        raise BadRow(
            f"the answer {shorten(text)} means several choices, by its text and by its letter or number; give the "
            "number of the right one from 0, as a number"
        )
    if not candidates:
        raise BadRow(f"the answer {shorten(value)} is none of the {len(choices)} choices")
    return candidates.pop() or 0


def letter_choices(choices: list[str]) -> str:
    """Format choices with their letters, one a line: 'A. one', 'B. other'."""
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))


def get_question(spec: PromptedTask, row: Row) -> tuple[str, list[str], int | None]:
    """Return (prompt, choices, number of the right one) of a row; no choices and None where the task has none.

    In templates, {choices} stands for the choices with their letters and {letter} for that of the right one. Raises
    BadRow.
    """
    if not spec.has_choices:
        return fill_template(spec.prompt, row), [], None
    choices = get_choices(spec, row)
    prompt = fill_template(spec.prompt, row, lambda name: letter_choices(choices) if name == "choices" else None)
    return prompt, choices, right_choice(spec, row, choices)


def needed_columns(spec: PromptedTask, *templates: str) -> list[str]:
    """Return the columns that a row must have for its prompt, its choices and these templates."""
    names = [name for template in (spec.prompt, *templates, *(spec.choices or ())) for name in placeholders(template)]
    if spec.has_choices:
        names = [name for name in names if name not in ("choices", "letter")]
        names += [spec.key, *([spec.choices_column] if spec.choices_column else [])]
    return list(dict.fromkeys(names))
