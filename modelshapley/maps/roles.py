"""What a unit does to the task's loss: helps, hurts or neither, from its help and harm and their errors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from modelshapley.maps.importance import Sides, weigh

Role = Literal["helps", "hurts", "neither"]
CONFIDENCE = 0.95
NAMES: tuple[Role, Role, Role] = ("neither", "helps", "hurts")  # by the sign of the net effect: 0, 1, -1


def role(net: float, error: float, n: int) -> Role:
    """Name the role of a unit whose help minus harm is `net` ± `error` (standard error) nats over n examples.

    helps, hurts: Student's 95 % interval of the net effect lies above or below 0. Among many units, one in twenty
    without any net effect is named so by chance.
    """
    return NAMES[int(_signs(np.array(net), np.array(error), n))]


def roles(sides: Sides) -> npt.NDArray[np.int8]:
    """Return the sign of each unit's net effect, 0 where its 95 % interval includes 0; of the kind's shape."""
    return _signs(*weigh(sides, None), sides.n)


def _signs(net: npt.NDArray[np.float64], error: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.int8]:
    if n < 2:
        return np.zeros(net.shape, dtype=np.int8)
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    return np.where(np.abs(net) > half, np.sign(net), 0).astype(np.int8)
