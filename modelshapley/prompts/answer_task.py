"""One answer as a task: its one example is scored and kept like those of any other task. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from modelshapley.contracts.prompts import PromptToken
from modelshapley.contracts.task_files.file import Chat, GenerationTask, ImageClassificationTask, Part, Source
from modelshapley.errors import KINDS_OF_MODEL, BadPrompt, TaskMismatch

CAUSAL, PICTURES = "AutoModelForCausalLM", "AutoModelForImageClassification"
PARTS = {"probe": Part(split="probe"), "test": Part(split="test")}


def text_task(name: str, prompt: str, chat: Chat, tokens: Sequence[PromptToken]) -> GenerationTask:
    """Return the task whose example is a prompt with its answer.

    Its loss is minus the mean log-likelihood of the answer's tokens, nats; right means that each of them is the
    likeliest at its place. The token that ends the answer does not count. Raises BadPrompt for an answer without text.
    """
    counted = [token for token in tokens if not token.end]
    answer = "".join(token.text for token in counted)
    if not answer.strip():
        raise BadPrompt("The answer has no text, so that there is nothing to score; try another prompt.")
    row = {"prompt": prompt, "answer": answer, "tokens": [token.id for token in counted]}
    return GenerationTask(
        kind="generation",
        name=name,
        title=f"One answer: {_shorten(answer)}",
        summary="One prompt with the answer that the intact model gave; right: each of its tokens is the likeliest.",
        source=Source(rows={"probe": [row], "test": [row]}),
        prompt="{prompt}",
        answer="{answer}",
        answer_tokens="tokens",
        rule="tokens",
        chat=chat,
        **PARTS,
    )


def picture_task(name: str, image: str, predicted: int, classes: Sequence[str]) -> ImageClassificationTask:
    """Return the task whose example is a picture of the class that the intact model predicts.

    image: a data URL. classes: names of all classes of the model, in its order.
    """
    row = {"image": image, "label": predicted}
    names = [name if classes.count(name) == 1 else f"{name} (class {i})" for i, name in enumerate(classes)]
    return ImageClassificationTask(
        kind="image-classification",
        name=name,
        title=f"One picture: {_shorten(names[predicted])}",
        summary="One picture, of the class that the intact model predicts; right: that class is the likeliest.",
        source=Source(rows={"probe": [row], "test": [row]}),
        labels=names,
        match="index",
        **PARTS,
    )


def mismatch(what: str, expected: str, model: str, actual: str) -> TaskMismatch:
    """Return the error for a prompt or picture given to a model of another kind. expected, actual: auto classes."""
    return TaskMismatch(
        f"{what} needs {KINDS_OF_MODEL[expected]}, but {model!r} is {KINDS_OF_MODEL.get(actual, actual)}."
    )


def _shorten(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= 60 else f"{line[:57]}..."
