"""Reading questions with choices, one of them right, from rows."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

from modelshapley.contracts.task_files.file import PromptedTask, placeholders
from modelshapley.tasks.data import BadRow, MisreadRows, Row, shorten
from modelshapley.tasks.kinds.data_task import fill_template


def get_choices(spec: PromptedTask, row: Row) -> tuple[list[str], list[str] | None]:
    """Return a row's choices, in order, and what the key calls them; None where neither data nor task say so.

    Raises BadRow.
    """
    labels: Any = spec.choice_labels
    if spec.choices is not None:
        choices = [fill_template(choice, row) for choice in spec.choices]
    else:
        values: Any = row.get(str(spec.choices_column))
        if isinstance(values, dict):  # {"text": [...], "label": [...]}, as ARC and OpenBookQA have it
            labels = labels or values.get("label") or values.get("labels")
            values = values.get("text")
        choices = _choices_of(spec, values)
    if labels is not None:
        labels = _labels_of(spec, labels, len(choices))
    return choices, labels


def _choices_of(spec: PromptedTask, values: Any) -> list[str]:
    if not isinstance(values, list) or len(values) < 2:
        raise BadRow(f"column {spec.choices_column!r} holds no list of choices")
    if any(choice is None or isinstance(choice, list | dict) for choice in values):
        raise BadRow(f"a choice in column {spec.choices_column!r} is no text")
    if len(values) > len(ascii_uppercase):
        raise BadRow(f"{len(values)} choices, more than there are letters")
    return [str(choice) for choice in values]


def _labels_of(spec: PromptedTask, labels: Any, count: int) -> list[str]:
    if not isinstance(labels, list) or len(labels) != count:
        size = len(labels) if isinstance(labels, list) else "no list of"
        raise BadRow(f"column {spec.choices_column!r} has {count} choices and {size} labels")
    names = [str(label).strip() for label in labels]
    if len(set(names)) < count:
        raise BadRow(f"two choices have the same label: {', '.join(names)}")
    return names


def right_choice(spec: PromptedTask, row: Row, choices: list[str], labels: list[str] | None) -> int:
    """Return the number of the right choice. Raises BadRow.

    Where choices have labels, the key is one of them, or the text of a choice. Else a number counts from 0, whatever
    the choices are, and text is that of a choice, its letter, or its number. A key that can mean different choices is
    rejected as ambiguous. Raises MisreadRows for a number that is one too high: the numbers then count from 1,
    and all other rows would be read wrongly without a word.
    """
    value: Any = row.get(spec.key)
    if value is None or value == "":
        raise BadRow(f"nothing in column {spec.key!r}")
    text = str(value).strip()
    candidates = _by_label(text, choices, labels) if labels is not None else _by_position(value, text, choices)
    candidates.discard(None)
    if len(candidates) > 1:
        raise BadRow(
            f"the answer {shorten(text)} means several choices, by its text and by its label, letter or number; give "
            "`choice_labels` in the task, or the number of the right one from 0, as a number"
        )
    if candidates:
        return candidates.pop() or 0
    if labels is None and text == str(len(choices)):
        ones = ", ".join(repr(str(number + 1)) for number in range(len(choices)))
        raise MisreadRows(
            f"column {spec.key!r} holds {text}, but the numbers of {len(choices)} choices count from 0. If they count "
            f"from 1 here, write `choice_labels: [{ones}]`"
        )
    named = f"; their labels are {', '.join(labels)}" if labels is not None else ""
    raise BadRow(f"the answer {shorten(value)} is none of the {len(choices)} choices{named}")


def _by_label(text: str, choices: list[str], labels: list[str]) -> set[int | None]:
    """The label decides; the text of a choice counts only where no label is meant."""
    plain = text if text in labels else text.strip("().")
    if plain in labels:
        return {labels.index(plain)}
    folded = [label.casefold() for label in labels]
    if folded.count(plain.casefold()) == 1:
        return {folded.index(plain.casefold())}
    return {place for place, choice in enumerate(choices) if choice == text}


def _by_position(value: Any, text: str, choices: list[str]) -> set[int | None]:
    letters = ascii_uppercase[: len(choices)]
    numbers = {str(i): i for i in range(len(choices))}
    if isinstance(value, int) and not isinstance(value, bool):
        return {numbers.get(text)}
    letter = text.strip("().").upper()
    by_text = choices.index(text) if text in choices else None
    return {by_text, letters.index(letter) if letter and letter in letters else None, numbers.get(text)}


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
    choices, labels = get_choices(spec, row)
    prompt = fill_template(spec.prompt, row, lambda name: letter_choices(choices) if name == "choices" else None)
    return prompt, choices, right_choice(spec, row, choices, labels)


def needed_columns(spec: PromptedTask, *templates: str) -> list[str]:
    """Return the columns that a row must have for its prompt, its choices and these templates."""
    names = [name for template in (spec.prompt, *templates, *(spec.choices or ())) for name in placeholders(template)]
    if spec.has_choices:
        names = [name for name in names if name not in ("choices", "letter")]
        names += [spec.key, *([spec.choices_column] if spec.choices_column else [])]
    return list(dict.fromkeys(names))
