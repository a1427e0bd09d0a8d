"""What each method is, in words; torch-free, so that the API can list them."""

from __future__ import annotations

from modelshapley.contracts import MethodInfo

SHAPLEY_UNIT = "estimated Shapley value of the loss, nats"

TWO_SIDED = MethodInfo(
    id="two-sided",
    title="Two-sided",
    passes=1,
    signed=False,
    quantity="weighted mean change in loss per example when the unit goes, nats",
    summary="How much a unit helps and how much it hurts, example by example; help weighs three times harm.",
    formula="1.5 E[max(phi, 0)] + 0.5 E[max(-phi, 0)], phi = -c + c²/2, c = dLoss/dgate",
    source="Ours; measured against the paper's forms in docs/method.md",
)
MEAN_ABS = MethodInfo(
    id="mean-abs",
    title="Mean magnitude",
    passes=1,
    signed=False,
    quantity="mean |dLoss/dgate| per example, nats",
    summary="How far the loss of an example moves, up or down, when the unit is turned.",
    formula="E|c|, c = dLoss/dgate",
    source="Michel et al. 2019, for heads; the paper does not compare with it",
)
MODEL_SHAPLEY = MethodInfo(
    id="model-shapley",
    title="Model Shapley (corrected)",
    passes=1,
    signed=True,
    quantity=SHAPLEY_UNIT,
    summary="Exact Shapley value of the loss's second-order expansion; helpful and harmful examples cancel.",
    formula="E[-c + ½ c Σ c over the layer], c = dLoss/dgate",
    source="Model Shapley (NeurIPS 2025), eq. 3 and Remark 4.3",
)
MODEL_SHAPLEY_PAPER = MethodInfo(
    id="model-shapley-paper",
    title="Model Shapley (as printed)",
    passes=1,
    signed=False,
    quantity="|estimated Shapley value| as printed, nats",
    summary="The paper's printed formula, whose second sign contradicts its derivation; ranked by magnitude.",
    formula="|E[-c - ½ c Σ c over the layer]|, c = dLoss/dgate",
    source="Model Shapley (NeurIPS 2025), eq. 7 and Algorithm 2",
)
GRADIENT_TRACE = MethodInfo(
    id="gradient-trace",
    title="Gradient trace",
    passes=1,
    signed=False,
    quantity="|mean dLoss/dgate|, nats",
    summary="Weight times gradient of the mean loss: the paper's stronger baseline.",
    formula="|E[c]|, c = dLoss/dgate",
    source="Model Shapley (NeurIPS 2025), section 5, baseline |θg|",
)
GRADIENT = MethodInfo(
    id="gradient",
    title="Gradient",
    passes=1,
    signed=False,
    quantity="mean |dLoss/doffset| per example, nats per unit of activation",
    summary="How sensitive the loss is to a nudge of the unit's output, however large that output is.",
    formula="E‖dLoss/d(constant added to the unit's activation)‖",
    source="Model Shapley (NeurIPS 2025), section 5, baseline |g|, carried over to units",
)
RANDOM = MethodInfo(
    id="random",
    title="Random",
    passes=0,
    signed=False,
    quantity="uniform draw from 0 to 1, no unit",
    summary="Knows nothing: what any other method has to beat.",
    formula="U(0, 1)",
    source="Model Shapley (NeurIPS 2025), section 5, baseline",
)

METHODS: dict[str, MethodInfo] = {
    info.id: info
    for info in (TWO_SIDED, MEAN_ABS, MODEL_SHAPLEY, MODEL_SHAPLEY_PAPER, GRADIENT_TRACE, GRADIENT, RANDOM)
}
