"""One importance method a file; `infos` lists them without torch, `load_method` gives the working object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modelshapley.errors import UnknownName
from modelshapley.methods.infos import METHODS

if TYPE_CHECKING:
    from modelshapley.methods.base import Method

__all__ = ["METHODS", "load_method"]

_CLASSES = {
    "two-sided": "two_sided.TwoSided",
    "mean-abs": "mean_abs.MeanAbs",
    "model-shapley": "model_shapley.ModelShapley",
    "model-shapley-paper": "model_shapley_paper.ModelShapleyPaper",
    "gradient-trace": "gradient_trace.GradientTrace",
    "gradient": "gradient.Gradient",
    "random": "random.Random",
}


def load_method(method_id: str) -> Method:
    """The method with this id. Raises UnknownName."""
    if method_id not in METHODS:
        raise UnknownName("method", method_id, list(METHODS))
    module, _, name = _CLASSES[method_id].partition(".")
    method: Method = getattr(import_module(f"{__name__}.{module}"), name)()
    return method
