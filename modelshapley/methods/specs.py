"""Specs of methods as users write them: `path-shapley`, `path-shapley,points=4`. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelshapley.contracts import MethodInfo, ParameterInfo
from modelshapley.errors import BadParameter, UnknownName
from modelshapley.methods.infos import METHODS

Value = float | str


def parse_method(spec: str) -> tuple[MethodInfo, dict[str, Value]]:
    """Return the method that a spec names, and all its parameters with defaults filled in.

    Raises UnknownName or BadParameter.
    """
    method_id, *settings = spec.split(",")
    if method_id not in METHODS:
        raise UnknownName("method", method_id, list(METHODS))
    info = METHODS[method_id]
    known = {parameter.name: parameter for parameter in info.parameters}
    values: dict[str, Value] = {name: parameter.default for name, parameter in known.items()}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise BadParameter(f"Method {method_id!r} has no parameter {name!r}. It has: {', '.join(known) or 'none'}.")
        values[name] = _value(method_id, known[name], text)
    return info, values


def _value(method_id: str, parameter: ParameterInfo, text: str) -> Value:
    if text in (parameter.choices or ()):
        return text
    allowed = " or ".join(filter(None, [", ".join(parameter.choices or ()), _range(parameter)]))
    problem = f"{parameter.name} of {method_id!r} cannot be {text!r}; it must be {allowed}."
    if parameter.minimum is None:
        raise BadParameter(problem)
    try:
        number = float(text)
    except ValueError:
        raise BadParameter(problem) from None
    low, high = parameter.minimum, parameter.maximum
    if not low <= number <= (high if high is not None else float("inf")):
        raise BadParameter(problem)
    if parameter.whole:
        if number != int(number):
            raise BadParameter(problem)
        return int(number)
    return number


def _range(parameter: ParameterInfo) -> str:
    if parameter.minimum is None:
        return ""
    noun = "a whole number" if parameter.whole else "a number"
    if parameter.maximum is None:
        return f"{noun} of at least {parameter.minimum:g}"
    return f"{noun} from {parameter.minimum:g} to {parameter.maximum:g}"


def canonical(spec: str) -> str:
    """Return the canonical spec: parameters in their table's order, without those at their default."""
    info, values = parse_method(spec)
    changed = [
        f"{p.name}={values[p.name]:g}" if isinstance(values[p.name], float | int) else f"{p.name}={values[p.name]}"
        for p in info.parameters
        if values[p.name] != p.default
    ]
    return ",".join([info.id, *changed])


def sums_up(spec: str) -> bool:
    """Return whether scores, as this spec reads them, should sum to U(all on) - U(all off), U in nats of loss."""
    info, values = parse_method(spec)
    return info.sums_up and values.get("harm", "signed") == "signed" and values.get("utility", "loss") == "loss"


def check_size(spec: str, kind: str, units: int) -> None:
    """Raise BadParameter if a method cannot score so many units of a kind."""
    info, _ = parse_method(spec)
    if info.largest is not None and units > info.largest:
        raise BadParameter(
            f"{info.id!r} can score at most {info.largest:,} units of a kind, this model has {units:,} {kind}s; "
            "leave that kind out of 'units', or use 'coalition-shapley', which estimates the same."
        )


@dataclass(frozen=True)
class MapReading:
    """Reading of a computed map: `computed` is the method of the run, `harm` the weight of harm, None for signed."""

    computed: str
    harm: float | None


def with_harm(spec: str, harm: Value) -> str:
    """Return the spec of the same method with another weight of harm. Raises UnknownName, BadParameter."""
    parts = [part for part in spec.split(",") if not part.startswith("harm=")]
    return canonical(",".join([*parts, f"harm={harm}"]))


def harm_of(spec: str) -> Value | None:
    """Return the weight of harm in a spec; None for methods that do not store harm separately."""
    return parse_method(spec)[1].get("harm")


def _reads(computed: str, spec: str, harm: Value | None) -> bool:
    return harm is not None and harm_of(computed) is not None and with_harm(computed, harm) == canonical(spec)


def reading_of(spec: str, computed: Sequence[str]) -> MapReading | None:
    """Find the computed method that answers `spec`, perhaps with another weight of harm; None if there is none."""
    try:
        harm = harm_of(spec)
        matches = [c for c in computed if c == spec or _reads(c, spec, harm)]
    except (UnknownName, BadParameter):
        return None
    if not matches:
        return None
    chosen = spec if spec in matches else matches[0]
    return MapReading(chosen, None if harm in (None, "signed") else float(harm))
