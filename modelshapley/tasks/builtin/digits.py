"""Handwritten digits: image classification on scikit-learn's 1,797 images of 8 x 8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.errors import TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.finite import require_finite
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.infos import DIGITS
from modelshapley.tasks.kinds.image_classification import data_url
from modelshapley.tasks.order import shuffled, stratified

SPLIT_SEED = 0


@dataclass(frozen=True)
class Digit:
    """A handwritten digit. pixels: (1, 8, 8) float32 in [-1, 1]; label 0 to 9."""

    pixels: Tensor
    label: int


@cache
def split_digits() -> dict[str, list[Digit]]:
    """Split into train, probe and test parts: 80/20 by digit, then the first part 80/20 again (paper, section 5).

    The split is the same whatever the run's seed, because the shipped model was trained on the train part and must
    not be measured on digits that it has seen.
    """
    data = load_digits()
    images = torch.as_tensor(data.images / 8.0 - 1.0, dtype=torch.float32)[:, None]
    digits = [Digit(pixels, int(label)) for pixels, label in zip(images, data.target, strict=True)]

    def cut(indices: Any) -> tuple[Any, Any]:
        parts = train_test_split(
            indices, test_size=0.2, random_state=SPLIT_SEED, stratify=data.target[indices], shuffle=True
        )
        return parts[0], parts[1]

    rest, test = cut(np.arange(len(digits)))
    train, probe = cut(rest)
    return {name: [digits[i] for i in part] for name, part in (("train", train), ("probe", probe), ("test", test))}


class Digits(Task[Digit]):
    """The task. Probe: the validation part, every prefix stratified by digit. Test: the held-out 20 %."""

    info = DIGITS
    probe_batch = 32
    test_chunk = 60
    single_pass = True

    def examples(self, split: Split, seed: int = 0) -> Sequence[Digit]:
        digits = split_digits()[split]
        order = stratified([d.label for d in digits], seed) if split == Split.PROBE else shuffled(len(digits), seed)
        return [digits[i] for i in order]

    def losses(self, loaded: LoadedModel, examples: Sequence[Digit]) -> Tensor:
        """Return the cross entropy of each image, nats."""
        labels = torch.tensor([d.label for d in examples], device=loaded.device)
        return functional.cross_entropy(self._logits(loaded, examples).float(), labels, reduction="none")

    def correct(self, loaded: LoadedModel, examples: Sequence[Digit]) -> Tensor:
        return self._logits(loaded, examples).argmax(-1).cpu() == torch.tensor([d.label for d in examples])

    def predicted_text(self, loaded: LoadedModel, examples: Sequence[Digit]) -> list[str]:
        return [str(label) for label in self._logits(loaded, examples).argmax(-1).tolist()]

    def display(self, loaded: LoadedModel | None, example: Digit) -> ExampleShown:
        grey = ((example.pixels[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        picture = PIL.Image.fromarray(grey).resize((64, 64), PIL.Image.Resampling.NEAREST)
        return ExampleShown(row="scikit-learn", image=data_url(picture), right=str(example.label))

    def class_of(self, example: Digit) -> str:
        return str(example.label)

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        config: Any = loaded.model.config
        for name, expected in (("num_channels", 1), ("image_size", 8), ("num_labels", 10)):
            actual = getattr(config, name, None)
            if actual != expected:
                raise TaskMismatch(
                    f"Task 'digits' needs a model with {name}={expected}, but {loaded.id!r} has {actual}."
                )

    def content(self) -> Any:
        return {"data": "sklearn digits", "scale": "x/8-1", "split": [SPLIT_SEED, 0.2, 0.2], "right": "argmax"}

    def _logits(self, loaded: LoadedModel, examples: Sequence[Digit]) -> Tensor:
        pixels = torch.stack([d.pixels for d in examples]).to(loaded.device, getattr(torch, loaded.dtype))
        logits: Tensor = loaded.model(pixel_values=pixels).logits
        return require_finite(loaded, logits, "A logit")
