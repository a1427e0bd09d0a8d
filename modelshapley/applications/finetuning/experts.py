"""Chosen experts of a mixture as the only parameters that train; the stacked weights of all stay frozen."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modelshapley.applications.finetuning.parts import Part, master_of
from modelshapley.interventions.forwards import Forward

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class SubExperts:
    """The trained experts of one module: slices of its stacked weights, which :meth:`write` copies back.

    The module runs twice: whole, with weights of zero for these experts, and as a copy that has these experts alone.
    So it works with whichever implementation transformers chooses, and costs their share of the expert maps once more.
    """

    def __init__(self, model: nn.Module, part: Part) -> None:
        self.part, self.module = part, model.get_submodule(part.path)
        self._whole = {name: weight.detach() for name, weight in self.module.named_parameters(recurse=False)}
        device = next(iter(self._whole.values())).device
        self._index = torch.tensor(part.index, device=device)
        count = len(next(iter(self._whole.values())))
        self._place = torch.full((count,), -1, device=device)
        self._place[self._index] = torch.arange(len(part.index), device=device)
        self._weights = {
            name: nn.Parameter(master_of(weight.index_select(0, self._index))) for name, weight in self._whole.items()
        }
        self._few = _with_fewer(self.module, self._weights)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the trained parameters by name."""
        return {f"{self.part.path}.experts.{name}": weight for name, weight in self._weights.items()}

    @torch.no_grad()
    def write(self) -> None:
        """Copy the parameters into the module's weights, which forward passes of other code use."""
        for name, weight in self._weights.items():
            self._whole[name].index_copy_(0, self._index, weight.to(self._whole[name]))

    def wrap(self, forward: Forward) -> Forward:
        """Return the forward of the module that lets these experts train."""

        def run(states: Tensor, index: Tensor, weights: Tensor) -> Tensor:
            place = self._place[index]
            own = place >= 0
            others: Tensor = forward(states, index, weights.masked_fill(own, 0))
            trained = {name: weight.to(states.dtype) for name, weight in self._weights.items()}
            arguments = (states, place.clamp(min=0), weights.masked_fill(~own, 0))
            result: Tensor = others + functional_call(self._few, trained, arguments)
            return result

        return run


def _with_fewer(module: nn.Module, weights: dict[str, nn.Parameter]) -> nn.Module:
    """Return a copy of an experts module without hooks that has as many experts as `weights`."""
    few = copy.copy(module)
    few._parameters = dict(weights)  # replaced at each call, and read for their names only
    few._modules = dict(module._modules)
    for hooks in HOOKS:
        setattr(few, hooks, OrderedDict())
    few.num_experts = len(next(iter(weights.values())))  # type: ignore[assignment]  # the name that all families use
    return few
