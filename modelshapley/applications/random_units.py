"""Random units as controls of chosen ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation, Unit, UnitKind


def random_units(
    loaded: LoadedModel, units: Deactivation, seed: int | Sequence[int], same_layers: bool = False
) -> Deactivation:
    """Return as many units of each kind, drawn from the whole model or, with same_layers, as many of each layer."""
    rng, shapes = np.random.default_rng(seed), loaded.anatomy.shapes
    drawn: dict[UnitKind, list[Unit]] = {}
    for kind, chosen in units.units:
        places = rng.permutation(np.argwhere(shapes.is_unit(kind)))
        if same_layers:
            layers = Counter(unit[0] for unit in chosen)
            places = np.concatenate([places[places[:, 0] == layer][:count] for layer, count in layers.items()])
        drawn[kind] = [tuple(row) for row in places[: len(chosen)].tolist()]
    return Deactivation.of(drawn)


def random_draws(
    loaded: LoadedModel, units: Deactivation, seed: int, draws: int, same_layers: bool = False
) -> list[Deactivation]:
    """Return several independent draws of :func:`random_units`."""
    return [random_units(loaded, units, [seed, number], same_layers) for number in range(draws)]


def all_units(loaded: LoadedModel, kinds: Sequence[UnitKind]) -> Deactivation:
    """Return all units of some kinds."""
    shapes = loaded.anatomy.shapes
    return Deactivation.of({kind: np.argwhere(shapes.is_unit(kind)).tolist() for kind in kinds})
