"""Methods as people write them: `path-shapley`, `path-shapley,points=4`. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelshapley.contracts import MethodInfo, ParameterInfo
from modelshapley.errors import BadParameter, UnknownName
from modelshapley.methods.infos import METHODS

Value = float | str


def parse_method(spec: str) -> tuple[MethodInfo, dict[str, Value]]:
    """The method that a spec names, and all its parameters, defaults filled in.

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
    wanted = " or ".join(filter(None, [", ".join(parameter.choices or ()), _range(parameter)]))
    problem = f"{parameter.name} of {method_id!r} cannot be {text!r}; it is {wanted}."
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
    """The one spelling of a spec: parameters in their table's order, those at their default left out."""
    info, values = parse_method(spec)
    changed = [
        f"{p.name}={values[p.name]:g}" if isinstance(values[p.name], float | int) else f"{p.name}={values[p.name]}"
        for p in info.parameters
        if values[p.name] != p.default
    ]
    return ",".join([info.id, *changed])


def sums_up(spec: str) -> bool:
    """Whether scores, as this spec reads them, are meant to sum to U(all on) - U(all off), U in nats of loss."""
    info, values = parse_method(spec)
    return info.sums_up and values.get("harm", "signed") == "signed" and values.get("utility", "loss") == "loss"


def check_size(spec: str, kind: str, units: int) -> None:
    """Raise BadParameter where a method cannot take on so many units of a kind."""
    info, _ = parse_method(spec)
    if info.largest is not None and units > info.largest:
        raise BadParameter(
            f"{info.id!r} can score at most {info.largest:,} units of a kind, this model has {units:,} {kind}s; "
            "leave that kind out of 'units', or use 'coalition-shapley', which estimates the same."
        )


@dataclass(frozen=True)
class MapReading:
    """A reading of a computed map: `computed` is the method that the run was scored by, `harm` None for signed."""

    computed: str
    harm: float | None


def with_harm(spec: str, harm: Value) -> str:
    """The same method read with another weight of harm. Raises UnknownName, BadParameter."""
    kept = [part for part in spec.split(",") if not part.startswith("harm=")]
    return canonical(",".join([*kept, f"harm={harm}"]))


def harm_of(spec: str) -> Value | None:
    """The weight of harm that a spec reads with; None for methods that do not keep harm apart."""
    return parse_method(spec)[1].get("harm")


def _reads(computed: str, spec: str, harm: Value | None) -> bool:
    return harm is not None and harm_of(computed) is not None and with_harm(computed, harm) == canonical(spec)


def reading_of(spec: str, computed: Sequence[str]) -> MapReading | None:
    """The computed method that answers `spec`, perhaps with help and harm weighed anew; None where none does."""
    try:
        harm = harm_of(spec)
        matches = [c for c in computed if c == spec or _reads(c, spec, harm)]
    except (UnknownName, BadParameter):
        return None
    if not matches:
        return None
    chosen = spec if spec in matches else matches[0]
    return MapReading(chosen, None if harm in (None, "signed") else float(harm))
