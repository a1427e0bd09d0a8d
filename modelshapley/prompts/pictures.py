"""Pictures by hand: the probabilities of the classes, intact and with units off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.prompts import PromptComparison
from modelshapley.errors import BadPrompt
from modelshapley.models.loaded import LoadedModel
from modelshapley.prompts.answer_task import PICTURES, mismatch, picture_task
from modelshapley.prompts.comparing import compare_states
from modelshapley.prompts.writing import Changes
from modelshapley.tasks.data import BadRow
from modelshapley.tasks.kinds.image_classification import ImageClassification, Picture, bytes_of


def compare_picture(loaded: LoadedModel, image: str, changes: Changes) -> PromptComparison:
    """Compare the two states on a picture: one position, whose tokens are the model's classes.

    image: a data URL. The class whose loss is reported is the one that the intact model predicts. Raises TaskMismatch
    for another kind of model or one without an image processor, BadPrompt for what is no picture, NotFinite.
    """
    if loaded.anatomy.auto_class != PICTURES:
        raise mismatch("A picture", PICTURES, loaded.id, loaded.anatomy.auto_class)
    task = ImageClassification(picture_task("picture", image, 0, class_names(loaded)))
    task.check(loaded)
    try:
        picture = Picture(bytes_of(image), 0, None, "")
        picture.open()
    except BadRow as error:
        raise BadPrompt(f"The picture cannot be used: {error}.") from None

    def logits() -> Tensor:
        return task.logits(loaded, [picture])

    with torch.inference_mode():
        predicted = int(logits()[0].argmax())
    classes = class_names(loaded)

    def names(numbers: Sequence[int]) -> list[str]:
        return [classes[number] for number in numbers]

    return PromptComparison(positions=compare_states(loaded, logits, [predicted], changes, names))


def class_names(loaded: LoadedModel) -> list[str]:
    """Return the names of the model's classes, in its order."""
    config: Any = loaded.model.config
    return [str(config.id2label[number]) for number in sorted(config.id2label)]
