"""State that a worker keeps between jobs: loaded models, their intact outcomes, and hidden states."""

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
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation
from workers.warm.states import WarmStates

log = logging.getLogger(__name__)
Key = tuple[str, str, int]


class Warm:
    """The most recently used models, within `model_memory` bytes, each with intact outcomes per task and seed.

    model_memory: None means half of the device's. A model in use is never unloaded, even if it exceeds the budget.
    trial_memory: bytes of host memory for the hidden states of all models; 0 makes trials compute every layer.
    pause: called between two chunks of long work. changed: called after a model was loaded. fetching: called with
    (model id, bytes done, total) during downloads.
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
        """Return a model, loading it if necessary or if its files have changed. Raises what catalog and load raise."""
        if model_id == SMOLLM2:
            prepare_smollm2(self._catalog.smollm2_folder, log.info)
        self._catalog.fetch(model_id, lambda done, total: self._fetching(model_id, done, total))
        folder = self._catalog.folder(model_id)
        stamp = folder.stamp()
        if self._stamps.get(model_id) != stamp:
            self._unload(model_id)
            self._make_room(
                model_id, size_on_disk(folder)
            )  # before loading, so that old and new models never need memory at the same time
            self._models[model_id] = load(folder, self._device, self._dtype)
            self._stamps[model_id] = stamp
            self._make_room(model_id)
            self._changed()
        self._models.move_to_end(model_id)
        return self._models[model_id]

    def in_float32(self, loaded: LoadedModel) -> LoadedModel:
        """Return a model in float32: itself, or a copy that is loaded for this use and not kept."""
        return loaded if loaded.dtype == "float32" else self.own_copy(loaded)

    def own_copy(self, loaded: LoadedModel) -> LoadedModel:
        """Return a copy of a model in float32 whose weights may change: it is loaded for this use and not kept."""
        folder = self._catalog.folder(loaded.id)
        self._make_room(loaded.id, 2 * size_on_disk(folder))
        return load(folder, self._device, "float32")

    def folder(self, model_id: str) -> ModelFolder:
        """Return the checked folder of a model that was loaded."""
        return self._catalog.folder(model_id)

    @contextmanager
    def in_use(self, model_id: str) -> Iterator[None]:
        """Keep a model loaded while the block runs."""
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
        load_stored: Callable[[], bytes | None] = lambda: None,
    ) -> Outcomes:
        """Return the intact model's outcomes on the test examples. load_stored: loads stored ones, if there are any."""
        key = (loaded.id, task.fingerprint(seed), seed)
        if key not in self._intact:
            packed = load_stored()
            self._intact[key] = unpack(packed) if packed else self._answers(loaded, task, seed)
        return self._intact[key]

    def _answers(self, loaded: LoadedModel, task: Task[Any], seed: int) -> Outcomes:
        latest: list[Outcomes] = []
        for outcomes, _ in answers(loaded, task, Deactivation(), seed, states=self.states(loaded, task, seed)):
            latest = [outcomes]
            self._pause()
        return latest[0]

    def activations(self, loaded: LoadedModel, task: Task[Any], seed: int) -> Activations:
        """Return activation statistics on the task's probe examples, for trials with means or offsets."""
        key = (loaded.id, task.fingerprint(seed), seed)
        if key not in self._activations:
            self._activations[key] = activations_of(loaded, task, seed, pause=self._pause)
        return self._activations[key]

    def states(self, loaded: LoadedModel, task: Task[Any], seed: int) -> HiddenStateCache:
        """Return the hidden states of the task's test examples, for trials."""
        return self._states.of(loaded, task, seed)

    def snapshot(self) -> contracts.Warm:
        """Describe the current state."""
        models = [
            WarmModel(
                model=model_id,
                device=loaded.places,
                dtype=loaded.dtype,
                bytes=size_of(loaded),
                in_use=self._users[model_id] > 0,
                notes=loaded.notes,
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

    def _make_room(self, keep: str, more: int = 0) -> None:
        """Unload models, least recently used first, until the rest and `more` bytes fit the budget."""
        for model_id in list(self._models):
            if sum(size_of(loaded) for loaded in self._models.values()) + more <= self._budget:
                return
            if model_id != keep and not self._users[model_id]:
                log.info("unloading %s to make room for %s", model_id, keep)
                self._unload(model_id)

    def _unload(self, model_id: str) -> None:
        self._models.pop(model_id, None)
        self._stamps.pop(model_id, None)
        self._states.forget(model_id)
        for cache in (self._intact, self._activations):
            for key in [key for key in cache if key[0] == model_id]:
                cache.pop(key)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def size_of(loaded: LoadedModel) -> int:
    """Return the bytes of a model's weights and buffers; a shared tensor counts once."""
    tensors = {id(tensor): tensor for tensor in chain(loaded.model.parameters(), loaded.model.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def size_on_disk(folder: ModelFolder) -> int:
    """Return the bytes of a model's weight files."""
    return sum(file.stat().st_size for file in folder.path.glob("*.safetensors"))


def memory_of(device: str) -> int:
    """Return the bytes of a device: of all CUDA devices for 'spread', of the machine for the CPU."""
    if device == "spread":
        return sum(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pick_device(setting: str) -> str:
    """Return the device to use: 'auto' is the first CUDA device if there is one, else the CPU."""
    if setting != "auto":
        return setting
    return "cuda" if torch.cuda.is_available() else "cpu"
