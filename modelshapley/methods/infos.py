"""Descriptions of the methods; torch-free, so that the API can list them."""

from __future__ import annotations

from modelshapley.contracts import MethodInfo, ParameterInfo

SHAPLEY_UNIT = "estimated Shapley value of the loss, nats"
BLOCK = ParameterInfo(
    name="block", default="layer", choices=["layer", "model"], summary="units whose interactions are counted"
)


def _harm(default: float | str) -> ParameterInfo:
    return ParameterInfo(
        name="harm",
        default=default,
        minimum=0,
        maximum=100,
        choices=["signed"],
        summary="0 counts help and harm alike, 1 only help, 'signed' subtracts harm from help; "
        "can be chosen after the run",
    )


TWO_SIDED = MethodInfo(
    id="two-sided",
    title="Two-sided",
    passes=1,
    signed=False,
    quantity="estimated loss increase if removed (nats per example)",
    summary="How much each unit helps and how much it hurts, example by example; help counts three times as much.",
    formula="(1 + h) E[max(phi, 0)] + (1 - h) E[max(-phi, 0)], phi = -c + c²/2, c = dLoss/dgate, h = ½",
    source="Ours; compared with the paper's forms in docs/benchmarks.md",
    parameters=[_harm(0.5)],
    sided=True,
)
MEAN_ABS = MethodInfo(
    id="mean-abs",
    title="Mean magnitude",
    passes=1,
    signed=False,
    quantity="mean |dLoss/dgate| per example, nats",
    summary="Mean size of the loss's change, up or down, when the unit is scaled.",
    formula="E|c|, c = dLoss/dgate",
    source="Michel et al. 2019, for heads; the paper does not compare with it",
)
FISHER_DIAGONAL = MethodInfo(
    id="fisher-diagonal",
    title="Fisher diagonal",
    passes=1,
    signed=False,
    quantity="½ mean (dLoss/dgate)² per example, nats",
    summary="Second-order cost of removing the unit alone; favours units that matter greatly to few examples.",
    formula="½ E[c²], c = dLoss/dgate",
    source="Optimal Brain Damage (LeCun et al. 1989) with the empirical Fisher for the Hessian",
)
MODEL_SHAPLEY = MethodInfo(
    id="model-shapley",
    title="Model Shapley (corrected)",
    passes=1,
    signed=True,
    sums_up=True,
    quantity=SHAPLEY_UNIT,
    summary="Exact Shapley value of the loss's second-order expansion; helpful and harmful examples cancel.",
    formula="E[-c + ½ c Σ c over the block], c = dLoss/dgate",
    source="Model Shapley (NeurIPS 2025), eq. 3 and Remark 4.3",
    parameters=[BLOCK],
)
MODEL_SHAPLEY_PAPER = MethodInfo(
    id="model-shapley-paper",
    title="Model Shapley (as printed)",
    passes=1,
    signed=False,
    quantity="|estimated Shapley value| as printed, nats",
    summary="The paper's printed formula, whose second sign contradicts its derivation; ranked by magnitude.",
    formula="|E[-c - ½ c Σ c over the block]|, c = dLoss/dgate, E smoothed over mini-batches where alpha is not 0",
    source="Model Shapley (NeurIPS 2025), eq. 7 and Algorithm 2",
    parameters=[
        BLOCK,
        ParameterInfo(
            name="alpha", default=0, minimum=0, maximum=1, summary="weight of each new mini-batch; 0: plain mean"
        ),
        ParameterInfo(
            name="pool",
            default="rows",
            choices=["rows", "gate"],
            summary="heads and layers: means over their rows, as in the paper, or scored as units of their own",
        ),
        ParameterInfo(name="batch", default=8, minimum=1, whole=True, summary="examples a mini-batch"),
    ],
)
PATH_GRID = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Where path-shapley looks at the loss, by forward passes, before it chooses its points."""
PATH_SHAPLEY = MethodInfo(
    id="path-shapley",
    title="Path Shapley",
    passes=8,
    signed=True,
    sums_up=True,
    quantity=SHAPLEY_UNIT,
    summary="Average effect of a unit while all are scaled together from off to on; scores sum to the whole effect.",
    formula="-∫₀¹ E[c at all gates t] dt, Gauss-Legendre, points where the loss changes",
    source="Aumann and Shapley 1974; integrated gradients (Sundararajan et al. 2017), of the gates",
    parameters=[
        ParameterInfo(name="points", default=8, minimum=1, maximum=64, whole=True, summary="backward passes"),
        _harm("signed"),
    ],
    sided=True,
)
COALITION_SHAPLEY = MethodInfo(
    id="coalition-shapley",
    title="Coalition Shapley",
    passes=8,
    signed=True,
    sums_up=True,
    quantity=SHAPLEY_UNIT,
    summary="Average gate derivative of a unit at random coalitions of the others.",
    formula="-E[c at a random coalition], each unit on with probability t, t uniform; antithetic pairs",
    source="Owen 1972 (multilinear extension), by gate derivatives",
    parameters=[
        ParameterInfo(
            name="passes", default=8, minimum=2, maximum=256, whole=True, summary="backward passes, an even number"
        ),
        ParameterInfo(
            name="error",
            default=0,
            minimum=0,
            maximum=1,
            summary="an example is done once the standard error of its values is this share of them; "
            "0: when all passes are made",
        ),
        ParameterInfo(name="from", default=0, minimum=0, maximum=0.99, summary="smallest share of units kept on"),
        _harm("signed"),
    ],
    sided=True,
)
PERMUTATION_SHAPLEY = MethodInfo(
    id="permutation-shapley",
    title="Permutation Shapley",
    passes=0,
    cost="2 x pairs forward passes for each unit, no backward pass",
    largest=4096,
    signed=True,
    sums_up=True,
    quantity="sampled Shapley value of the loss (nats) or of accuracy",
    summary="Shapley values by their definition: units go off one by one in random orders. Slow; the reference.",
    formula="E[U(before the unit leaves) - U(after)] over random orders and their reverses",
    source="Shapley 1953; sampling after Castro et al. 2009",
    parameters=[
        ParameterInfo(
            name="pairs",
            default=1,
            minimum=1,
            maximum=1000,
            whole=True,
            summary="orders and their reverses an example",
        ),
        ParameterInfo(name="utility", default="loss", choices=["loss", "accuracy"], summary="what is shared out"),
        ParameterInfo(
            name="truncate",
            default=0,
            minimum=0,
            maximum=0.5,
            summary="an order ends once this near to everything off, as a share of the whole range; 0: never",
        ),
    ],
)
ABLATION_REGRESSION = MethodInfo(
    id="ablation-regression",
    title="Ablation regression",
    passes=0,
    cost="64 forward passes for each kind of unit, no backward pass",
    largest=512,
    signed=True,
    quantity="utility lost by switching off, others being off too: nats, or share of right answers",
    summary="Random small sets of units go off, and least squares tells what each of them costs. For layers.",
    formula="argmin over w of E[(U(all) - U(all but S) - Σ w over S)²], S a random share `off` of the units",
    source="COAR (Shah, Ilyas and Madry 2024), after datamodels (Ilyas et al. 2022), pooled over examples",
    parameters=[
        ParameterInfo(name="passes", default=64, minimum=2, maximum=4096, whole=True, summary="forward passes"),
        ParameterInfo(name="off", default=0.07, minimum=0, maximum=0.5, summary="share of the units off at a time"),
        ParameterInfo(name="utility", default="accuracy", choices=["loss", "accuracy"], summary="what is lost"),
    ],
)
GRADIENT_TRACE = MethodInfo(
    id="gradient-trace",
    title="Gradient trace",
    passes=1,
    signed=False,
    quantity="|mean dLoss/dgate|, nats",
    summary="Weight times gradient of the mean loss, the stronger of the paper's baselines.",
    formula="|E[c]|, c = dLoss/dgate",
    source="Model Shapley (NeurIPS 2025), section 5, baseline |θg|",
)
GRADIENT = MethodInfo(
    id="gradient",
    title="Gradient",
    passes=1,
    signed=False,
    quantity="mean |dLoss/doffset| per example, nats per unit of activation",
    summary="Sensitivity of the loss to a small change of the unit's output, whatever the size of that output.",
    formula="E‖dLoss/d(constant added to the unit's activation)‖",
    source="Model Shapley (NeurIPS 2025), section 5, baseline |g|, carried over to units",
)
WANDA = MethodInfo(
    id="wanda",
    title="Wanda",
    passes=1,
    signed=False,
    quantity="mean weight-times-activation norm, units of activation",
    summary="Size of the unit's outgoing weights times size of its activations. Ignores the loss.",
    formula="E[Σ over channels of Σ|W| × root mean square of z]",
    source="Sun et al. 2023, summed over a unit's weights",
)
ACTIVATION = MethodInfo(
    id="activation",
    title="Activation",
    passes=1,
    signed=False,
    quantity="mean |activation|, units of activation",
    summary="Size of the unit's activations on this task. Ignores the loss.",
    formula="E|z|",
    source="a common baseline",
)
MAGNITUDE = MethodInfo(
    id="magnitude",
    title="Weight magnitude",
    passes=0,
    signed=False,
    quantity="mean |weight|, units of weight",
    summary="Size of the unit's outgoing weights. Ignores data and loss.",
    formula="mean |W|",
    source="a common baseline",
)
RANDOM = MethodInfo(
    id="random",
    title="Random",
    passes=0,
    signed=False,
    quantity="uniform draw from 0 to 1, no unit",
    summary="Random scores, which any other method has to beat.",
    formula="U(0, 1)",
    source="Model Shapley (NeurIPS 2025), section 5, baseline",
)

METHODS: dict[str, MethodInfo] = {
    info.id: info
    for info in (
        TWO_SIDED,
        MEAN_ABS,
        FISHER_DIAGONAL,
        MODEL_SHAPLEY,
        MODEL_SHAPLEY_PAPER,
        PATH_SHAPLEY,
        COALITION_SHAPLEY,
        PERMUTATION_SHAPLEY,
        ABLATION_REGRESSION,
        GRADIENT_TRACE,
        GRADIENT,
        WANDA,
        ACTIVATION,
        MAGNITUDE,
        RANDOM,
    )
}
