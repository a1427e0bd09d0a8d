"""Results of probing chosen units and of amplifying them, each beside random units."""

from __future__ import annotations

from modelshapley.contracts.base import Contract, Interval
from modelshapley.contracts.runs import Measured
from modelshapley.contracts.trials import Comparison
from modelshapley.units import UnitKind


class ProbeReport(Contract):
    """Accuracy of linear classifiers that read the class of a test example from activations of the intact model.

    chosen, everything: from the chosen units, and from all units of their kinds. random: from each draw of as many
    random units; random_mean: over draws. majority: of always giving the most frequent class of the training
    examples. chosen_minus_random, chosen_minus_everything: on the same examples, with 95 % intervals; those of random
    units are paired with the share of draws that are right about an example.
    """

    model: str
    task: str
    classes: int
    units: dict[UnitKind, int]
    trained_on: int
    seed: int
    chosen: Measured
    everything: Measured
    majority: Measured
    random: list[float]
    random_mean: float
    chosen_minus_random: float
    random_interval: Interval
    chosen_minus_everything: float
    everything_interval: Interval


class AmplifiedPoint(Contract):
    """Accuracy with units scaled by a factor. chosen: against the intact model. random: of each random draw.

    chosen_minus_random: on the same examples, paired with the mean outcome of the draws, with its 95 % interval.
    """

    factor: float
    chosen: Comparison
    random: list[float]
    random_mean: float
    chosen_minus_random: float
    random_interval: Interval


class AmplifyReport(Contract):
    """Accuracy on test examples with the chosen units scaled, beside as many random units. points: one a factor."""

    model: str
    task: str
    units: dict[UnitKind, int]
    seed: int
    intact: Measured
    points: list[AmplifiedPoint]
