"""Requests to use a map of a finished run: to make a model, or to ask what its important units hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, model_validator

from modelshapley.contracts.applications.derived import DerivedRequest
from modelshapley.contracts.applications.finetuning import Control, FinetuneSettings
from modelshapley.contracts.base import Contract, Whole
from modelshapley.contracts.trials import Off
from modelshapley.contracts.uploads import MODEL_NAME
from modelshapley.units import UnitKind

RUN = "3f9c0a51"
MOST_FACTORS = 20
Label = Annotated[str, Field(pattern=MODEL_NAME)]
Draws = Annotated[Whole, Field(ge=1, le=1000)]
MostShare = Annotated[float, Field(gt=0, le=1)]


class UnitsRequest(Contract):
    """Request about units of a run's model: a share of the `most` important of some kinds by a map, or named `units`.

    method: of the run's map that ranks them; its first by default.
    """

    run: str = Field(min_length=1, max_length=64)
    most: dict[UnitKind, MostShare] | None = Field(default=None, min_length=1)
    units: Off | None = None
    method: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.most is None) == (self.units is None):
            raise ValueError("give either 'most', such as {\"neuron\": 0.1}, or 'units', by their indices")
        if self.units is not None and not len(self.units.deactivation()):
            raise ValueError("'units' names no unit; choose some")
        return self


class FinetuneRequest(UnitsRequest):
    """Request to train only these units on the task's probe examples; the result becomes `derived:<name>`.

    controls: what else is trained on the same examples, measured and not saved; null: all that the worker has the
    packages for. adapter: save a LoRA adapter for peft instead of a whole model.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"use": "finetune", "run": RUN, "name": "digits-tuned", "most": {"neuron": 0.1}}]
        }
    )

    use: Literal["finetune"] = "finetune"
    name: Label
    settings: FinetuneSettings = FinetuneSettings()
    controls: list[Control] | None = Field(default=None, max_length=3)
    adapter: bool = False


class QuantiseRequest(Contract):
    """Request to save the run's model with fewer bits, calibrated with at most `limit` of its probe examples.

    scheme: see docs/apply.md. beta: of `paper-algorithm-1`.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"use": "quantise", "run": RUN, "name": "smollm2-w4", "scheme": "gptq-w4"}]}
    )

    use: Literal["quantise"] = "quantise"
    run: str = Field(min_length=1, max_length=64)
    name: Label
    scheme: str = Field(max_length=40, examples=["gptq-w4"])
    beta: float = Field(default=0.5, ge=0, le=1)
    limit: Whole = Field(default=64, ge=1, le=100_000)


class ProbeRequest(UnitsRequest):
    """Request to read the classes of the task linearly from these units, beside `draws` draws of as many random ones.

    same_layers: draw as many of each layer.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"use": "probe", "run": RUN, "most": {"neuron": 0.1}}]})

    use: Literal["probe"] = "probe"
    name: Label | None = None
    draws: Draws = 20
    same_layers: bool = False


class AmplifyRequest(UnitsRequest):
    """Request to measure the accuracy with these units scaled by each factor, beside as many random ones."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"use": "amplify", "run": RUN, "most": {"neuron": 0.1}, "factors": [1.1]}]}
    )

    use: Literal["amplify"] = "amplify"
    name: Label | None = None
    factors: list[Annotated[float, Field(ge=1, le=2)]] = Field(
        default=[1.1, 1.2, 1.3, 1.4, 1.5], min_length=1, max_length=MOST_FACTORS
    )
    draws: Draws = 5
    same_layers: bool = False


def _use_of(value: Any) -> Any:
    """Return the use that a request names; without one, it is for a smaller model, as before there were others."""
    return value.get("use", "prune") if isinstance(value, dict) else getattr(value, "use", None)


UseRequest = Annotated[
    Annotated[DerivedRequest, Tag("prune")]
    | Annotated[FinetuneRequest, Tag("finetune")]
    | Annotated[QuantiseRequest, Tag("quantise")]
    | Annotated[ProbeRequest, Tag("probe")]
    | Annotated[AmplifyRequest, Tag("amplify")],
    Discriminator(
        _use_of,
        custom_error_type="unknown_use",
        custom_error_message="'use' should be prune, finetune, quantise, probe or amplify",
    ),
]
"""A request to use a map; `use` says for what."""
USE_REQUEST: TypeAdapter[UseRequest] = TypeAdapter(UseRequest)
