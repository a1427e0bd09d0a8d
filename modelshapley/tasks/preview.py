"""Preview of a task before a run: its examples as the model sees them, and everything that would stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from modelshapley.contracts import Status
from modelshapley.contracts.task_files.descriptions import ExampleShown, Labels, TaskCheck
from modelshapley.errors import BadData, TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.data import BadRow, RejectedRow
from modelshapley.tasks.kinds.classification import Classification
from modelshapley.tasks.kinds.data_task import DataTask, group_by_reason
from modelshapley.tasks.language import text

MAX_SHOWN_EXAMPLES = 3
MAX_TRIED_EXAMPLES = 256  # probe examples tried with the model: a run's default
T = TypeVar("T")


def check_task(task: Task[Any], loaded: LoadedModel | None, seed: int = 0, check_id: str = "") -> TaskCheck:
    """Describe a task from its data, and whether this model can do it.

    `problems` lists what would stop a run. Raises ModelShapleyError only where the data cannot be read at all.
    """
    problems: list[str] = []
    parts = {split: _read_part(task, split, seed, problems) for split in Split}
    examples = parts[Split.PROBE][0]
    counts = {split: len(good) for split, (good, _) in parts.items()}
    classes = Counter(label for example in examples if (label := task.class_of(example)) is not None)
    displayed, longest, context = _with_model(task, loaded, examples, seed, problems)
    return TaskCheck(
        id=check_id,
        status=Status.DONE,
        info=task.info.model_copy(update={"probe_examples": counts[Split.PROBE], "test_examples": counts[Split.TEST]}),
        fingerprint=task.fingerprint(seed),
        classes=dict(sorted(classes.items())),
        examples=displayed,
        bad=group_by_reason(dict.fromkeys(bad for _, rejected in parts.values() for bad in rejected)),
        labels=_labels(task, loaded),
        longest=longest,
        context=context,
        problems=list(dict.fromkeys(problems)),
    )


def _read_part(task: Task[Any], split: Split, seed: int, problems: list[str]) -> tuple[list[Any], list[RejectedRow]]:
    """Return the usable and the rejected rows of a part, also for a task that rejected rows stop."""
    if not isinstance(task, DataTask):
        return list(task.examples(split, seed)), []
    part: tuple[list[Any], list[RejectedRow]] = task.read_part(split, seed)
    _collect_problem(problems, partial(task.examples, split, seed))
    return part


def _with_model(
    task: Task[Any], loaded: LoadedModel | None, examples: list[Any], seed: int, problems: list[str]
) -> tuple[list[ExampleShown], int | None, int | None]:
    """Return (the first examples for display, tokens of the longest, tokens that the model can read)."""
    problems_before = len(problems)
    longest = context = None
    chosen = examples
    if loaded is not None:
        _collect_problem(problems, partial(task.check, loaded))
        if len(problems) == problems_before:
            chosen = list(
                _collect_problem(problems, partial(task.select, loaded, Split.PROBE, seed, MAX_TRIED_EXAMPLES)) or []
            )
            if task.info.modality == "text":
                context = text.context_length(loaded)
                sizes = [task.size(loaded, example) for example in chosen]
                # A task that gives all examples the size 1 does not count in tokens.
                longest = max(sizes) if max(sizes, default=1) > 1 else None
    reader = loaded if len(problems) == problems_before else None
    displayed = [_display(task, reader, example, problems) for example in (chosen or examples)[:MAX_SHOWN_EXAMPLES]]
    return [example for example in displayed if example is not None], longest, context


def _display(task: Task[Any], loaded: LoadedModel | None, example: Any, problems: list[str]) -> ExampleShown | None:
    try:
        return task.display(loaded, example)
    except BadRow as error:
        problems.append(f"{example.where}: {error}")
        return None


def _collect_problem(problems: list[str], work: Callable[[], T]) -> T | None:
    """Return the result of `work`, or None after adding the error that it raised to `problems`."""
    try:
        return work()
    except (BadData, TaskMismatch) as error:
        problems.append(str(error))
        return None


def _labels(task: Task[Any], loaded: LoadedModel | None) -> Labels | None:
    if not isinstance(task, Classification):
        return None
    if loaded is None or loaded.anatomy.auto_class != task.info.auto_class:
        return Labels(data=task.classes, model=[])
    return task.match(loaded)
