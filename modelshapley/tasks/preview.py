"""A look at a task before a run: its examples as the model sees them, and everything that would stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from modelshapley.contracts import Status
from modelshapley.contracts.tasks import ExampleShown, Labels, TaskCheck
from modelshapley.errors import BadData, TaskMismatch
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.data import Bad, BadRow
from modelshapley.tasks.kinds.classification import Classification
from modelshapley.tasks.kinds.data_task import DataTask, by_reason
from modelshapley.tasks.labels import matched
from modelshapley.tasks.language import text

SHOWN = 3
LOOKED_AT = 256  # probe examples that are tried with the model, as many as a run has by default
T = TypeVar("T")


def check_task(task: Task[Any], loaded: LoadedModel | None, seed: int = 0, check_id: str = "") -> TaskCheck:
    """What a task is, read from its data, and whether this model can do it.

    What would stop a run stands in `problems`. Raises ModelShapleyError only where the data cannot be read at all.
    """
    problems: list[str] = []
    found = {split: _found(task, split, seed, problems) for split in Split}
    examples = found[Split.PROBE][0]
    counts = {split: len(good) for split, (good, _) in found.items()}
    classes = Counter(label for example in examples if (label := task.class_of(example)) is not None)
    seen, longest, context = _with_model(task, loaded, examples, seed, problems)
    return TaskCheck(
        id=check_id,
        status=Status.DONE,
        info=task.info.model_copy(update={"probe_examples": counts[Split.PROBE], "test_examples": counts[Split.TEST]}),
        fingerprint=task.fingerprint(seed),
        classes=dict(sorted(classes.items())),
        examples=seen,
        bad=by_reason(dict.fromkeys(bad for _, missed in found.values() for bad in missed)),
        labels=_labels(task, loaded),
        longest=longest,
        context=context,
        problems=list(dict.fromkeys(problems)),
    )


def _found(task: Task[Any], split: Split, seed: int, problems: list[str]) -> tuple[list[Any], list[Bad]]:
    """Good and bad rows of a part, also of a task that bad rows stop."""
    if not isinstance(task, DataTask):
        return list(task.examples(split, seed)), []
    sifted: tuple[list[Any], list[Bad]] = task.sifted(split, seed)
    _try(problems, partial(task.examples, split, seed))
    return sifted


def _with_model(
    task: Task[Any], loaded: LoadedModel | None, examples: list[Any], seed: int, problems: list[str]
) -> tuple[list[ExampleShown], int | None, int | None]:
    """(the first examples, tokens of the longest, tokens that the model can read)."""
    before = len(problems)
    longest = context = None
    chosen = examples
    if loaded is not None:
        _try(problems, partial(task.check, loaded))
        if len(problems) == before:
            chosen = list(_try(problems, partial(task.select, loaded, Split.PROBE, seed, LOOKED_AT)) or [])
            if task.info.modality == "text":
                context = text.context(loaded)
                sizes = [task.size(loaded, example) for example in chosen]
                # A task that gives all examples the size 1 does not count in tokens.
                longest = max(sizes) if max(sizes, default=1) > 1 else None
    reader = loaded if len(problems) == before else None
    shown = [_shown(task, reader, example, problems) for example in (chosen or examples)[:SHOWN]]
    return [example for example in shown if example is not None], longest, context


def _shown(task: Task[Any], loaded: LoadedModel | None, example: Any, problems: list[str]) -> ExampleShown | None:
    try:
        return task.shown(loaded, example)
    except BadRow as error:
        problems.append(f"{example.where}: {error}")
        return None


def _try(problems: list[str], work: Callable[[], T]) -> T | None:
    """What `work` gives; None where it raises what is then a problem of the task."""
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
    return matched(task.spec, task.classes, loaded)[1]
