"""The guard where a model's outputs become choices and losses: not-a-number is an error, never the first choice."""

from __future__ import annotations

from torch import Tensor

from modelshapley.errors import NotFinite
from modelshapley.models.loaded import LoadedModel


def require_finite(loaded: LoadedModel, values: Tensor, what: str) -> Tensor:
    """Return `values` if all of them are finite numbers. what: names one of them. Raises NotFinite."""
    finite = values.isfinite()
    if not bool(finite.all()):
        raise NotFinite.of(f"{what} of {loaded.id!r}", float(values.detach()[~finite][0]), loaded.dtype)
    return values
