"""Probe chosen units: does a linear classifier read the class from them better than from random units?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from modelshapley.applications.probing.features import Features, features_of
from modelshapley.applications.random_units import all_units, random_draws
from modelshapley.contracts.applications.reports import ProbeReport
from modelshapley.contracts.runs import Measured
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.intervals import Bools, mean_interval, paired_difference
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.units import Deactivation

DRAWS = 20
STRENGTHS = np.logspace(-3, 5, 17)  # of the ridge penalty, on standardised channels
Progress = Callable[[int, int], None]
Labels = npt.NDArray[np.str_]


def probe(
    loaded: LoadedModel,
    task: Task[Any],
    units: Deactivation,
    limit: int = 256,
    seed: int = 0,
    draws: int = DRAWS,
    same_layers: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> ProbeReport:
    """Train linear classifiers on the probe examples, and measure them on the test examples.

    They read the class of an example (`Task.class_of`) from the activations of `units`, of `draws` draws of as many
    random units, and of all units of these kinds. Each is a ridge classifier on standardised channels whose strength
    is chosen by leave-one-out error on the probe examples. limit: at most so many of these. same_layers: draw as
    many of each layer, since later layers tell classes apart more easily. on_progress: called with
    (examples done, their number). Raises ModelShapleyError for tasks without classes that are known before the model
    answers, UnitOutOfRange, OutOfMemory.
    """
    units.check(loaded.anatomy.shapes)
    if not len(units):
        raise ModelShapleyError("There is no unit to probe; choose a larger share.")
    splits = [task.select(loaded, Split.PROBE, seed, limit), task.select(loaded, Split.TEST, seed)]
    labels = [_labels(task, examples) for examples in splits]
    if len(set(labels[0])) < 2:
        raise ModelShapleyError(f"The probe examples are all of one class, {labels[0][0]!r}; take more with limit.")
    total, kinds = sum(map(len, splits)), [kind for kind, _ in units.units]
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    features = [features_of(loaded, task, kinds, examples, count) for examples in splits]
    chosen, everything = (right(features, part, labels) for part in (units, all_units(loaded, kinds)))
    drawn = np.stack([right(features, part, labels) for part in random_draws(loaded, units, seed, draws, same_layers)])
    names, counts = np.unique(labels[0], return_counts=True)
    to_random, to_everything = paired_difference(chosen, drawn.mean(0)), paired_difference(chosen, everything)
    return ProbeReport(
        model=loaded.id,
        task=task.info.id,
        classes=len(names),
        units={kind: len(members) for kind, members in units.units},
        trained_on=len(splits[0]),
        seed=seed,
        chosen=_measured(chosen),
        everything=_measured(everything),
        majority=_measured(labels[1] == names[counts.argmax()]),
        random=drawn.mean(1).tolist(),
        random_mean=float(drawn.mean()),
        chosen_minus_random=to_random[0],
        random_interval=to_random[1],
        chosen_minus_everything=to_everything[0],
        everything_interval=to_everything[1],
    )


def right(features: Sequence[Features], units: Deactivation, labels: Sequence[Labels]) -> Bools:
    """Return whether the classifier of these units gives the class of each test example.

    features, labels: those of the probe examples, which it is trained on, and of the test examples.
    """
    train, test = (part.of(units) for part in features)
    scaler = StandardScaler().fit(train)
    classifier = RidgeClassifierCV(alphas=STRENGTHS).fit(scaler.transform(train), labels[0])
    correct: Bools = np.asarray(classifier.predict(scaler.transform(test)) == labels[1], dtype=bool)
    return correct


def _labels(task: Task[Any], examples: Sequence[Any]) -> Labels:
    classes = [task.class_of(example) for example in examples]
    if None in classes or not classes:
        raise ModelShapleyError(
            f"A probe needs the class of each example, and the task {task.info.id!r} has none; name the column of the "
            "classes in its task file (docs/tasks.md)."
        )
    return np.array(classes)


def _measured(correct: Bools) -> Measured:
    return Measured(accuracy=float(correct.mean()), interval=mean_interval(correct), n=len(correct))
