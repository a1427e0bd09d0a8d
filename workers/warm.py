"""What a worker keeps between jobs: loaded models, the intact model's answers and its hidden states."""

from __future__ import annotations

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch

from modelshapley import contracts
from modelshapley.contracts import Dtype, WarmModel
from modelshapley.evaluation.activations import Activations, activations_of
from modelshapley.evaluation.hidden_states import HiddenStateCache
from modelshapley.evaluation.intervals import Outcomes, unpack
from modelshapley.evaluation.trials import answers
from modelshapley.models.catalog import SMOLLM2, Catalog, ModelFolder
from modelshapley.models.demo import prepare_smollm2
from modelshapley.models.loading import LoadedModel, load
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation
from workers.warm_states import WarmStates

log = logging.getLogger(__name__)
Key = tuple[str, str, int]


class Warm:
    """The models used last, in `model_memory` bytes together, and for each the intact answers per task and seed.

    model_memory: None: half of the device's. A model in use is never dropped, though it may be larger than that.
    trial_memory: bytes of host memory for hidden states of all of them; 0: trials compute every layer.
    pause: called between two chunks of what takes long; changed: after another model has been loaded.
    """

    def __init__(
        self,
        catalog: Catalog,
        device: str,
        dtype: Dtype = "float32",
        model_memory: int | None = None,
        trial_memory: int = 0,
        pause: Callable[[], None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
        fetching: Callable[[str, int, int], None] = lambda model_id, done, total: None,
    ) -> None:
        self._catalog = catalog
        self._device = device
        self._dtype = dtype
        self._budget = memory_of(device) // 2 if model_memory is None else model_memory
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._stamps: dict[str, object] = {}
        self._intact: dict[Key, Outcomes] = {}
        self._activations: dict[Key, Activations] = {}
        self._states = WarmStates(trial_memory)
        self._users: Counter[str] = Counter()
        self._pause, self._changed, self._fetching = pause, changed, fetching

    def model(self, model_id: str) -> LoadedModel:
        """The model, loaded if it is not here or its files have changed. Raises what catalog and load raise."""
        if model_id == SMOLLM2:
            prepare_smollm2(self._catalog.smollm2_folder, log.info)
        self._catalog.fetch(model_id, lambda done, total: self._fetching(model_id, done, total))
        folder = self._catalog.folder(model_id)
        stamp = folder.stamp()
        if self._stamps.get(model_id) != stamp:
            self._forget(model_id)
            self._make_room(model_id, size_on_disk(folder))  # before loading, so that both never need room at once
            self._models[model_id] = load(folder, self._device, self._dtype)
            self._stamps[model_id] = stamp
            self._make_room(model_id)
            self._changed()
        self._models.move_to_end(model_id)
        return self._models[model_id]

    @contextmanager
    def in_use(self, model_id: str) -> Iterator[None]:
        """The model is not dropped while the block runs, once it is loaded."""
        self._users[model_id] += 1
        try:
            yield
        finally:
            self._users[model_id] -= 1

    def intact(
        self,
        loaded: LoadedModel,
        task: Task[Any],
        seed: int,
        kept: Callable[[], bytes | None] = lambda: None,
    ) -> Outcomes:
        """The intact model's answers to the task's test examples. kept: where they may have been kept before."""
        key = (loaded.id, task.fingerprint(seed), seed)
        if key not in self._intact:
            packed = kept()
            self._intact[key] = unpack(packed) if packed else self._answers(loaded, task, seed)
        return self._intact[key]

    def _answers(self, loaded: LoadedModel, task: Task[Any], seed: int) -> Outcomes:
        found: list[Outcomes] = []
        for correct, _ in answers(loaded, task, Deactivation(), seed, states=self.states(loaded, task, seed)):
            found = [correct]
            self._pause()
        return found[0]

    def activations(self, loaded: LoadedModel, task: Task[Any], seed: int) -> Activations:
        """What units are like on the task's probe examples, for trials that hold them at their mean, say."""
        key = (loaded.id, task.fingerprint(seed), seed)
        if key not in self._activations:
            self._activations[key] = activations_of(loaded, task, seed, pause=self._pause)
        return self._activations[key]

    def states(self, loaded: LoadedModel, task: Task[Any], seed: int) -> HiddenStateCache:
        """What is kept of passes over the task's test examples, for trials."""
        return self._states.of(loaded, task, seed)

    def snapshot(self) -> contracts.Warm:
        """What is kept now, for people."""
        models = [
            WarmModel(
                model=model_id,
                device=loaded.places,
                dtype=loaded.dtype,
                bytes=size_of(loaded),
                in_use=self._users[model_id] > 0,
            )
            for model_id, loaded in self._models.items()
        ]
        return contracts.Warm(
            models=models,
            probes=self._states.snapshot(),
            model_budget=self._budget,
            probe_budget=self._states.budget,
            device=self._device,
            dtype=self._dtype,
            memory=memory_of(self._device),
        )

    def _make_room(self, wanted: str, more: int = 0) -> None:
        """Drop models, those used least recently first, until they and `more` bytes fit the budget."""
        for model_id in list(self._models):
            if sum(size_of(loaded) for loaded in self._models.values()) + more <= self._budget:
                return
            if model_id != wanted and not self._users[model_id]:
                log.info("%s is dropped, to make room for %s", model_id, wanted)
                self._forget(model_id)

    def _forget(self, model_id: str) -> None:
        self._models.pop(model_id, None)
        self._stamps.pop(model_id, None)
        self._states.forget(model_id)
        for known in (self._intact, self._activations):
            for key in [key for key in known if key[0] == model_id]:
                known.pop(key)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def size_of(loaded: LoadedModel) -> int:
    """Bytes of a model's weights and buffers; a tensor that is used twice counts once."""
    tensors = {id(tensor): tensor for tensor in chain(loaded.model.parameters(), loaded.model.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def size_on_disk(folder: ModelFolder) -> int:
    return sum(file.stat().st_size for file in folder.path.glob("*.safetensors"))


def memory_of(device: str) -> int:
    """Bytes of the device, of all CUDA devices for 'spread'; for the CPU those of the machine."""
    if device == "spread":
        return sum(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pick_device(wanted: str) -> str:
    """'auto' is the first CUDA device where there is one, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
