"""Classification of texts or pairs of texts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelshapley.contracts.task_files.descriptions import ExampleShown
from modelshapley.contracts.task_files.file import TextClassificationTask
from modelshapley.errors import TaskMismatch
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.prefix_tree import Continuation
from modelshapley.tasks.data import Row
from modelshapley.tasks.kinds.classification import Classification
from modelshapley.tasks.kinds.data_task import text_of
from modelshapley.tasks.language import text
from modelshapley.tasks.language.encoded import Encoded


@dataclass(frozen=True)
class Text:
    """A text or a pair of texts; `number` is the number of its class in the data."""

    text: str
    pair: str | None
    number: int
    label: str | None
    where: str


class TextClassification(Classification[Text, TextClassificationTask]):
    """Classification of texts, encoded by the model's own tokenizer and right-padded."""

    probe_batch = 32
    test_chunk = 64

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._encoded: Encoded[Text, dict[str, list[int]]] = Encoded(_encode)

    def columns(self) -> list[str]:
        return [self.spec.text, self.spec.label, *([self.spec.pair] if self.spec.pair else [])]

    def example(self, row: Row, where: str) -> Text:
        number = self.class_number(row)
        pair = text_of(row, self.spec.pair) if self.spec.pair else None
        return Text(text_of(row, self.spec.text), pair, number, self.label_of(row), where)

    def fit(self, loaded: LoadedModel, example: Text) -> None:
        text.check_length(loaded, self.size(loaded, example))

    def display(self, loaded: LoadedModel | None, example: Text) -> ExampleShown:
        ids = self._encoded.of(loaded, example)["input_ids"] if loaded else []
        return ExampleShown(
            row=example.where,
            tokens=text.display_tokens(loaded, Continuation(ids, len(ids))) if loaded else [],
            text="\n\n".join(filter(None, (example.text, example.pair))),
            right=self.classes[example.number],
            label=example.label,
        )

    def size(self, loaded: LoadedModel, example: Text) -> int:
        return len(self._encoded.of(loaded, example)["input_ids"])

    def check(self, loaded: LoadedModel) -> None:
        super().check(loaded)
        text.check_tokenizer(self.spec.name, loaded)
        config: Any = loaded.model.config
        if loaded.anatomy.model_type not in {"bert", "roberta", "distilbert"} and config.pad_token_id is None:
            raise TaskMismatch(
                f"{loaded.id!r} classifies by its last token, which it cannot find among padding: its config.json "
                "has no pad_token_id."
            )

    def logits(self, loaded: LoadedModel, examples: Sequence[Text]) -> Tensor:
        encoded = [self._encoded.of(loaded, example) for example in examples]
        longest = max(len(entry["input_ids"]) for entry in encoded)
        pad = getattr(loaded.model.config, "pad_token_id", None) or 0
        inputs = {
            name: torch.tensor(
                [entry[name] + [pad if name == "input_ids" else 0] * (longest - len(entry[name])) for entry in encoded],
                device=loaded.device,
            )
            for name in encoded[0]
        }
        logits: Tensor = loaded.model(**inputs).logits
        return logits


def _encode(loaded: LoadedModel, example: Text) -> dict[str, list[int]]:
    tokenizer: Any = loaded.tokenizer
    encoding = text.encode(loaded, example.text, example.pair or None, detail="types")
    inputs = {"input_ids": encoding.ids, "attention_mask": [1] * len(encoding.ids)}
    if "token_type_ids" in tokenizer.model_input_names:
        inputs["token_type_ids"] = encoding.types
    accepted = inspect.signature(loaded.model.forward).parameters  # DistilBERT, say, takes no token types
    return {name: values for name, values in inputs.items() if name in accepted}
