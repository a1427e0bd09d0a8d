"""llm-compressor's GPTQ, which tells where it failed, and the paper's Algorithm 1 in it, for comparison."""

from __future__ import annotations

from typing import Any

import torch
from llmcompressor.modifiers.gptq import GPTQModifier
from pydantic import Field
from torch import Tensor

EPSILON = 1e-8


class Gptq(GPTQModifier):  # type: ignore[misc]
    """GPTQ that remembers `failed`: the paths of the maps that were rounded to the nearest value instead."""

    failed: list[str] = Field(default_factory=list)

    def compress_module_list(self, module_list: Any) -> None:
        super().compress_module_list(module_list)
        # The list is emptied at the end of the whole work.
        self.failed = sorted({*self.failed, *self._rtn_fallback_module_names})


class Printed(Gptq):
    """GPTQ whose Hessian has the diagonal beta w_j H_jj + (1 - beta) H_jj (paper, Algorithm 1).

    w_j = |phi2_j / (s_j + eps)| with s_j = 1/2 theta_j^2 H_jj and phi2_j = 1/2 theta_j (H theta)_j, the second-order
    term of the Shapley value, both summed over the outputs, since one Hessian serves all rows of a weight.
    """

    beta: float = 0.5

    def compress_module_list(self, module_list: Any) -> None:
        for module in module_list:
            hessian = self._hessians[module]
            diagonal = torch.diagonal(hessian)
            diagonal.copy_(mixed_diagonal(hessian, module.weight.detach(), self.beta))
        super().compress_module_list(module_list)


class Released(Gptq):
    """GPTQ on the diagonal of the Hessian alone, which is what the paper's released code comes to."""

    def compress_module_list(self, module_list: Any) -> None:
        for module in module_list:
            hessian = self._hessians[module]
            hessian.copy_(torch.diag(torch.diagonal(hessian)))
        super().compress_module_list(module_list)


def mixed_diagonal(hessian: Tensor, weight: Tensor, beta: float) -> Tensor:
    """Return Algorithm 1's diagonal, (inputs,). hessian: (inputs, inputs). weight: (outputs, inputs). beta: 0 to 1."""
    theta, diagonal = weight.to(hessian), torch.diagonal(hessian)
    own = 0.5 * theta.square().sum(0) * diagonal
    second = 0.5 * (theta * (theta @ hessian)).sum(0)
    ratio = (second / (own + EPSILON)).abs()
    return beta * ratio * diagonal + (1 - beta) * diagonal
