"""Errors of the library. Each message names the wrong value and the way out."""

from __future__ import annotations

KINDS_OF_MODEL = {
    "AutoModelForImageClassification": "a model that classifies images",
    "AutoModelForCausalLM": "a causal language model",
    "AutoModelForMaskedLM": "a masked language model",
    "AutoModelForSequenceClassification": "a model that classifies texts",
    "AutoModelForSeq2SeqLM": "an encoder-decoder language model",
}


class ModelShapleyError(Exception):
    """Base of every error that a user can cause or act on; its message is shown to the user."""


class Damaged(ModelShapleyError):
    """A file of this installation is not as it was written; the message names it and how to compute it again."""


class UnknownName(ModelShapleyError):
    """A model, task, method or kind of unit does not exist."""

    def __init__(self, noun: str, name: str, known: list[str]) -> None:
        self.noun, self.name, self.known = noun, name, known
        choices = ", ".join(known) if known else "none"
        super().__init__(f"There is no {noun} {name!r}. Known here: {choices}.")


class BadParameter(ModelShapleyError):
    """A method's parameter does not exist or cannot have this value."""


class UnitOutOfRange(ModelShapleyError):
    """A unit index is out of the model's range."""


class BadTreatment(ModelShapleyError):
    """A treatment is not possible for these units, or lacks its statistics or pairs of prompts."""

    @classmethod
    def no_pairs(cls, task: str) -> BadTreatment:
        """Return the error for patching on a task without corrupted prompts."""
        return cls(
            f"The task {task!r} has no corrupted prompts to patch units from; use a task of kind 'counterfactual', or "
            "another treatment."
        )


class UnsafeModel(ModelShapleyError):
    """A model folder would have to be unpickled, or needs its own code to run."""


class UnsupportedModel(ModelShapleyError):
    """A model's units cannot be located, or its anatomy failed verification."""


class TaskMismatch(ModelShapleyError):
    """A task does not fit a model (images for a text model, say)."""

    @classmethod
    def of(cls, task: str, expected: str, model: str, actual: str) -> TaskMismatch:
        """Return the error for a model of another kind. expected, actual: transformers' auto classes."""
        return cls(
            f"Task {task!r} needs {KINDS_OF_MODEL.get(expected, expected)}, "
            f"but {model!r} is {KINDS_OF_MODEL.get(actual, actual)}."
        )

    @classmethod
    def no_classes(cls, task: str) -> TaskMismatch:
        """Return the error for maps per class of a task without classes."""
        return cls(f"The examples of task {task!r} have no classes, so it gives no map per class; leave per_class out.")


class BadTask(ModelShapleyError):
    """A task file is invalid. problems: (field, what is wrong with it)."""

    def __init__(self, where: str, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        details = "; ".join(f"{field}: {words}" if field else words for field, words in problems)
        super().__init__(f"The task {where} cannot be used: {details}. The fields are described in docs/tasks.md.")


class BadData(ModelShapleyError):
    """A task cannot use its data: a source, split or column is missing, or rows cannot be read."""


class BadPrompt(ModelShapleyError):
    """A prompt or picture cannot be used; the message says why."""


class OutOfMemory(ModelShapleyError):
    """A model, or one example on it, does not fit the device's memory."""

    @classmethod
    def of(cls, what: str, places: str, dtype: str, reason: str) -> OutOfMemory:
        """Return the error for devices `places`, with the allocator's `reason`."""
        ways = ["shorter examples", "a device with more memory", "several devices (device 'spread')"]
        if dtype == "float32":
            ways.append("dtype 'bfloat16', which takes half")
        return cls(f"{what} in {dtype} does not fit the memory of {places} ({reason}). Try {', or '.join(ways)}.")


class NotFinite(ModelShapleyError):
    """A value of the model is infinite or not a number: it is never a choice, a rank or a score."""

    @classmethod
    def of(cls, what: str, value: float, dtype: str) -> NotFinite:
        """Return the error for a `value` that arose in weights of this dtype, with the way out where there is one."""
        way_out = ": the largest float16 number is 65504; load the model in bfloat16 or float32"
        return cls(f"{what} is {value}{way_out if dtype == 'float16' else ''}.")


class NotFound(ModelShapleyError):
    """A run, trial or map does not exist."""


class Conflict(ModelShapleyError):
    """The current state of a resource does not allow a request."""
