"""Answers equal transformers' `generate` token for token, whatever is done to whichever units, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modelshapley.contracts.prompts import PromptColumn, PromptSettings
from modelshapley.errors import BadPrompt, NotFinite, TaskMismatch, UnitOutOfRange
from modelshapley.evaluation.activations import activations_of
from modelshapley.interventions.gates import changes_of
from modelshapley.interventions.weights import scaled_weights
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.shortcuts import Shortcuts
from modelshapley.prompts.pieces import Pieces
from modelshapley.prompts.reading import read_prompt
from modelshapley.prompts.writing import Writing
from modelshapley.tasks.base import Split
from modelshapley.tasks.builtin.world_capitals import WorldCapitals
from modelshapley.tasks.language.text import decode as decode_within_limits
from modelshapley.units import Deactivation, Treatment, Unit, UnitKind
from tests.evaluation.test_treatments import DOWN, MEAN, UNITS, UP, by_hand
from tests.support.toys import CONFIGS, ToyTask, tiny
from tests.support.trialling import untouched

PROMPT = [7, 31, 4, 18, 9, 3]
LENGTH = 16
OFF, HALF = Treatment(), Treatment("scale", 0.5)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def toy(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny(CONFIGS[request.param])


def generated(model: Any, prompt: Sequence[int], length: int, **options: Any) -> list[int]:
    """What transformers' own `generate` writes, the end of text included."""
    ids = torch.tensor([list(prompt)])
    ids = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=False, pad_token_id=0, **options
    )
    tokens: list[int] = ids[0, len(prompt) :].tolist()
    return tokens


def written(column: PromptColumn | None) -> list[int]:
    assert column is not None
    return [token.id for token in column.tokens]


def write(
    loaded: LoadedModel, chosen: Deactivation, activations: Any = None, prompt: Sequence[int] = PROMPT, **settings: Any
) -> Writing:
    changes = changes_of(loaded.anatomy, chosen, activations)
    writing = Writing(loaded, prompt, LENGTH, PromptSettings(**settings), changes)
    for _ in writing.steps():
        assert untouched(loaded)  # between two steps, the model is free for other work
    return writing


# -- tiny models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [OFF, HALF, Treatment("scale", 1.7)], ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_scaled_units_equal_generate_with_scaled_weights(toy: LoadedModel, name: str, how: Treatment) -> None:
    chosen = Deactivation.of(UNITS[name], how)
    writing = write(toy, chosen)
    assert written(writing.intact) == generated(toy.model, PROMPT, LENGTH)
    with scaled_weights(toy.model, toy.anatomy, chosen):
        assert written(writing.changed) == generated(toy.model, PROMPT, LENGTH)


@pytest.mark.parametrize("how", [MEAN, UP, DOWN], ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_means_and_offsets_equal_generate_with_changed_biases(toy: LoadedModel, name: str, how: Treatment) -> None:
    task = ToyTask(toy)
    chosen = Deactivation.of(UNITS[name], how)
    writing = write(toy, chosen, activations_of(toy, task))
    model = by_hand(toy, task, UNITS[name], how)
    assert written(writing.changed) == generated(model, PROMPT, LENGTH)
    assert written(writing.intact) == generated(toy.model, PROMPT, LENGTH)


def test_units_matter_in_these_tests(toy: LoadedModel) -> None:
    changed = [written(write(toy, Deactivation.of(UNITS[name])).changed) for name in UNITS]
    intact = generated(toy.model, PROMPT, LENGTH)
    assert sum(tokens != intact for tokens in changed) >= 3


@pytest.mark.parametrize("name", ["mixtral", "gemma2", "qwen3"])
def test_other_families_equal_generate(name: str) -> None:
    loaded = tiny(CONFIGS[name])
    kind = UnitKind.EXPERT if name == "mixtral" else UnitKind.HEAD
    chosen = Deactivation.of({kind: [(0, 1), (1, 2)], UnitKind.NEURON: [(0, 3)] if name != "mixtral" else []})
    writing = write(loaded, chosen)
    with scaled_weights(loaded.model, loaded.anatomy, chosen):
        assert written(writing.changed) == generated(loaded.model, PROMPT, LENGTH)


def test_without_proven_shortcuts_every_pass_is_plain_and_writes_the_same() -> None:
    loaded = tiny(CONFIGS["llama"])
    chosen = Deactivation.of(UNITS["heads"])
    plain = write(replace(loaded, shortcuts=Shortcuts()), chosen)
    assert written(plain.changed) == written(write(loaded, chosen).changed)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(toy: LoadedModel) -> None:
    def text(seed: int) -> tuple[list[int], list[int]]:
        writing = write(toy, Deactivation.of(UNITS["layer"]), temperature=1.5, seed=seed)
        return written(writing.intact), written(writing.changed)

    texts = [text(seed) for seed in (0, 0, 1, 2)]
    assert texts[0] == texts[1]
    assert len({str(one) for one in texts}) >= 3


def test_tokens_are_drawn_as_often_as_the_temperature_says(toy: LoadedModel) -> None:
    with torch.no_grad():
        wanted = (toy.model(torch.tensor([PROMPT])).logits[0, -1] / 1.3).softmax(-1)
    settings = [PromptSettings(temperature=1.3, seed=seed) for seed in range(600)]
    drawn = [Writing(toy, PROMPT, 1, one).step().intact.id for one in settings]
    shares = torch.bincount(torch.tensor(drawn), minlength=len(wanted)) / len(drawn)
    error = (wanted * (1 - wanted) / len(drawn)).sqrt()
    assert bool(((shares - wanted).abs() < 5 * error + 1e-9).all())


def test_writing_continues_where_it_was_left(toy: LoadedModel) -> None:
    settings = PromptSettings(temperature=0.8, seed=3)
    changes = changes_of(toy.anatomy, Deactivation.of(UNITS["heads"]))
    whole = Writing(toy, PROMPT, LENGTH, settings, changes)
    begun = Writing(toy, PROMPT, LENGTH, settings, changes)
    for _ in range(3):
        begun.step()
    rest = Writing(toy, PROMPT, LENGTH, settings, changes, [begun.intact, begun.changed or PromptColumn()])
    for writing in (whole, rest):
        list(writing.steps())
    assert written(rest.intact) == written(whole.intact)
    assert written(rest.changed) == written(whole.changed)


def test_probabilities_are_those_of_the_model_and_a_text_ends_at_its_end(toy: LoadedModel) -> None:
    with torch.no_grad():
        probabilities = toy.model(torch.tensor([PROMPT])).logits[0, -1].softmax(-1)
    token = Writing(toy, PROMPT, LENGTH, PromptSettings()).step().intact
    assert token.probability == pytest.approx(float(probabilities.max()), abs=1e-5)
    toy.model.generation_config.eos_token_id = token.id
    try:
        writing = Writing(toy, PROMPT, LENGTH, PromptSettings())
        assert [step.intact.end for step in writing.steps()] == [True]
        assert (writing.intact.finish, writing.changed) == ("end", None)
    finally:
        toy.model.generation_config.eos_token_id = None


def test_not_a_number_is_an_error_and_the_hooks_are_gone(toy: LoadedModel) -> None:
    weight = next(toy.model.parameters())
    before = weight.data.clone()
    weight.data[:] = float("nan")
    try:
        with pytest.raises(NotFinite, match="A logit of a new token"):
            Writing(toy, PROMPT, 2, PromptSettings(), changes_of(toy.anatomy, Deactivation.of(UNITS["mixed"]))).step()
    finally:
        weight.data[:] = before
    assert untouched(toy)


def test_units_outside_the_model_are_refused(toy: LoadedModel) -> None:
    with pytest.raises(UnitOutOfRange, match="layers go from 0 to"):
        changes_of(toy.anatomy, Deactivation.of({UnitKind.HEAD: [(99, 0)]}))


# -- the demo model -------------------------------------------------------------------------------

SMOL: dict[UnitKind, list[Unit]] = {
    UnitKind.HEAD: [(layer, head) for layer in range(0, 30, 4) for head in (1, 5)],
    UnitKind.NEURON: [(layer, place) for layer in range(5, 30, 5) for place in range(0, 1536, 7)],
    UnitKind.LAYER: [(11,), (20,)],
    UnitKind.ROW: [(layer, row) for layer in range(3, 30, 6) for row in range(0, 900, 11)],
}
CASES: list[Any] = [
    *(({kind: units}, "no") for kind, units in SMOL.items()),
    (SMOL, "yes"),
    ({kind: SMOL[kind] for kind in (UnitKind.HEAD, UnitKind.NEURON)}, "yes"),
]
PATHS = {UnitKind.HEAD: "model.layers.{}.self_attn.o_proj", UnitKind.NEURON: "model.layers.{}.mlp.down_proj"}


@pytest.mark.parametrize(
    ("units", "chat"), CASES, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_the_demo_model_equals_generate(smollm2: LoadedModel, units: Any, chat: Any) -> None:
    read = read_prompt(smollm2, "The capital of France is", PromptSettings(chat=chat))
    assert read.rendered == (chat == "yes")
    chosen = Deactivation.of(units, HALF if chat == "yes" and UnitKind.LAYER not in units else OFF)
    writing = write(smollm2, chosen, prompt=read.tokens)
    assert written(writing.intact) == generated(smollm2.model, read.tokens, LENGTH)
    with scaled_weights(smollm2.model, smollm2.anatomy, chosen):
        assert written(writing.changed) == generated(smollm2.model, read.tokens, LENGTH)
    text: str = smollm2.tokenizer.decode(written(writing.intact), skip_special_tokens=True)
    assert writing.intact.text == text


@contextmanager
def by_hooks(model: nn.Module, change: Callable[[str, Tensor], Tensor], paths: Sequence[str]) -> Iterator[None]:
    """Hooks of this test's own on the inputs of these modules."""
    with ExitStack() as stack:
        for path in paths:

            def before(_: nn.Module, args: Any, path: str = path) -> Any:
                return (change(path, args[0]),)

            stack.callback(model.get_submodule(path).register_forward_pre_hook(before).remove)
        yield


@pytest.mark.parametrize("how", [MEAN, pytest.param(UP, marks=pytest.mark.slow)], ids=str)
def test_means_and_offsets_of_the_demo_model_equal_hooks_of_our_own(smollm2: LoadedModel, how: Treatment) -> None:
    task = WorldCapitals()
    units = {kind: SMOL[kind] for kind in PATHS}
    channels: dict[str, set[int]] = {}
    for kind, path in PATHS.items():
        for layer, place in units[kind]:
            wide = 64 if kind is UnitKind.HEAD else 1
            channels.setdefault(path.format(layer), set()).update(range(place * wide, (place + 1) * wide))
    seen: dict[str, list[Tensor]] = {path: [] for path in channels}

    def record(path: str, z: Tensor) -> Tensor:
        seen[path].append(z.reshape(-1, z.shape[-1]).double())
        return z

    with torch.no_grad(), by_hooks(smollm2.model, record, list(channels)):
        for example in task.select(smollm2, Split.PROBE, 0, 12):
            task.losses(smollm2, [example])
    read = read_prompt(smollm2, "The capital of Peru is", PromptSettings())
    writing = write(smollm2, Deactivation.of(units, how), activations_of(smollm2, task, examples=12), read.tokens)

    def change(path: str, z: Tensor) -> Tensor:
        values, where = torch.cat(seen[path]), sorted(channels[path])
        z = z.clone()
        if how == MEAN:
            z[..., where] = values.mean(0)[where].to(z)
        else:
            z[..., where] += (values.std(0, correction=0) * how.value)[where].to(z)
        return z

    with by_hooks(smollm2.model, change, list(channels)):
        wanted = generated(smollm2.model, read.tokens, LENGTH)
    assert written(writing.changed) == wanted
    assert wanted != written(writing.intact)


def test_pieces_join_to_the_text_whatever_the_tokens(smollm2: LoadedModel) -> None:
    tokenizer: Any = smollm2.tokenizer
    decode = partial(decode_within_limits, smollm2, skip_special=True)
    text = " naïve 北京 🦜🏳️‍🌈 über  two spaces\n\nand a line"
    before, ids = tokenizer("Say:")["input_ids"], tokenizer(text)["input_ids"]
    pieces = Pieces(decode, before)
    parts = [pieces.add(token) for token in ids]
    assert "".join(parts) == text
    assert "" in parts  # a character of several tokens appears when it is whole
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 49000, 300).tolist()
    assert len("".join(map(Pieces(decode, before).add, noise))) > 300


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [(" \n", BadPrompt, "The prompt is empty"), ("word " * 9000, BadPrompt, "reads at most 8,192 with its answer")],
)
def test_unusable_prompts_are_refused_in_a_sentence(
    smollm2: LoadedModel, prompt: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_prompt(smollm2, prompt, PromptSettings())


def test_a_prompt_for_a_model_of_pictures_is_refused(digits_vit: LoadedModel) -> None:
    with pytest.raises(TaskMismatch, match="A prompt needs a causal language model, but 'demo:digits-vit' is a model"):
        read_prompt(digits_vit, "Hello", PromptSettings())
