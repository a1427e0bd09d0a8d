"""Errors in the words of the domain. Each names the value that was wrong and the way out."""

from __future__ import annotations

KINDS_OF_MODEL = {
    "AutoModelForImageClassification": "a model that classifies images",
    "AutoModelForCausalLM": "a causal language model",
    "AutoModelForMaskedLM": "a masked language model",
    "AutoModelForSequenceClassification": "a model that classifies texts",
    "AutoModelForSeq2SeqLM": "an encoder-decoder language model",
}


class ModelShapleyError(Exception):
    """Base of every error that a user can cause or act on; its text is shown as it is."""


class UnknownName(ModelShapleyError):
    """A model, task, method or unit kind that does not exist here."""

    def __init__(self, noun: str, name: str, known: list[str]) -> None:
        self.noun, self.name, self.known = noun, name, known
        choices = ", ".join(known) if known else "none"
        super().__init__(f"There is no {noun} {name!r}. Known here: {choices}.")


class BadParameter(ModelShapleyError):
    """A method's parameter that does not exist or cannot have this value."""


class UnitOutOfRange(ModelShapleyError):
    """A unit index that the model does not have."""


class BadTreatment(ModelShapleyError):
    """Something that cannot be done to these units, or not with what is known."""


class UnsafeModel(ModelShapleyError):
    """A model folder that would have to be unpickled, or that wants its own code to run."""


class UnsupportedModel(ModelShapleyError):
    """A model whose units we cannot locate, or whose anatomy failed verification."""


class TaskMismatch(ModelShapleyError):
    """A task that this model cannot do (a text model on images, say)."""

    @classmethod
    def of(cls, task: str, wanted: str, model: str, found: str) -> TaskMismatch:
        """wanted, found: transformers' auto classes."""
        return cls(
            f"Task {task!r} wants {KINDS_OF_MODEL.get(wanted, wanted)}, "
            f"but {model!r} is {KINDS_OF_MODEL.get(found, found)}."
        )

    @classmethod
    def no_classes(cls, task: str) -> TaskMismatch:
        return cls(f"The examples of task {task!r} have no classes, so it gives no map per class; leave per_class out.")


class BadTask(ModelShapleyError):
    """A task file that does not say what a task needs. problems: (field, what is wrong with it)."""

    def __init__(self, where: str, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        told = "; ".join(f"{field}: {words}" if field else words for field, words in problems)
        super().__init__(f"The task {where} cannot be used: {told}. The fields are described in docs/tasks.md.")


class BadData(ModelShapleyError):
    """Data that a task cannot use: a source, a split or a column that is not there, rows that cannot be read."""


class OutOfMemory(ModelShapleyError):
    """A model, or one example in front of it, that the device has no room for."""

    @classmethod
    def of(cls, what: str, places: str, dtype: str, reason: str) -> OutOfMemory:
        """places: names of the devices. reason: what the allocator said."""
        ways = ["shorter examples", "a device with more memory", "several devices (device 'spread')"]
        if dtype == "float32":
            ways.append("dtype 'bfloat16', which takes half")
        return cls(f"{what} in {dtype} does not fit the memory of {places} ({reason}). Try {', or '.join(ways)}.")


class NotFinite(ModelShapleyError):
    """A loss or a gradient that is infinite or no number."""


class NotFound(ModelShapleyError):
    """A run, trial or map that does not exist."""


class Conflict(ModelShapleyError):
    """A request that the thing's present state does not allow."""
