"""Importance methods, one a file; `infos` describes them without torch, `load_method` returns the working object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modelshapley.methods.infos import METHODS
from modelshapley.methods.specs import canonical, check_size, harm_of, parse_method, reading_of, sums_up, with_harm

if TYPE_CHECKING:
    from modelshapley.methods.base import Method

__all__ = [
    "METHODS",
    "canonical",
    "check_size",
    "harm_of",
    "load_method",
    "parse_method",
    "reading_of",
    "sums_up",
    "with_harm",
]

_CLASSES = {
    "two-sided": "gradients.two_sided.TwoSided",
    "mean-abs": "gradients.mean_abs.MeanAbs",
    "fisher-diagonal": "gradients.fisher_diagonal.FisherDiagonal",
    "model-shapley": "gradients.model_shapley.ModelShapley",
    "model-shapley-paper": "gradients.model_shapley_paper.ModelShapleyPaper",
    "path-shapley": "coalitions.path_shapley.PathShapley",
    "coalition-shapley": "coalitions.coalition_shapley.CoalitionShapley",
    "permutation-shapley": "coalitions.permutation_shapley.PermutationShapley",
    "ablation-regression": "coalitions.ablation_regression.AblationRegression",
    "gradient-trace": "gradients.gradient_trace.GradientTrace",
    "gradient": "gradients.gradient.Gradient",
    "wanda": "baselines.wanda.Wanda",
    "activation": "baselines.activation.Activation",
    "magnitude": "baselines.magnitude.Magnitude",
    "random": "baselines.random.Random",
}


def load_method(spec: str) -> Method:
    """Return the method of a spec such as `path-shapley,points=4`. Raises UnknownName or BadParameter."""
    info, parameters = parse_method(spec)
    module, _, name = _CLASSES[info.id].rpartition(".")
    method: Method = getattr(import_module(f"{__name__}.{module}"), name)(**parameters)
    return method
