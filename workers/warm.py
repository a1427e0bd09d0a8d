"""What a worker keeps between jobs: loaded models, the intact model's answers and its hidden states."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import torch

from modelshapley.catalog import SMOLLM2, Catalog
from modelshapley.contracts import Dtype
from modelshapley.demo import prepare_smollm2
from modelshapley.intervals import Outcomes
from modelshapley.models import LoadedModel, load
from modelshapley.states import States
from modelshapley.tasks.base import Task
from modelshapley.trials import all_answers
from modelshapley.units import Deactivation
from workers.warm_states import WarmStates

log = logging.getLogger(__name__)


class Warm:
    """The `capacity` models used last, and for each the intact answers per task and seed.

    trial_memory: bytes for hidden states of all of them; 0: trials compute every layer.
    """

    def __init__(
        self, catalog: Catalog, device: str, capacity: int, dtype: Dtype = "float32", trial_memory: int = 0
    ) -> None:
        self._catalog = catalog
        self._device = device
        self._dtype = dtype
        self._capacity = capacity
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._stamps: dict[str, object] = {}
        self._intact: dict[tuple[str, str, int], Outcomes] = {}
        self._states = WarmStates(trial_memory)

    def model(self, model_id: str) -> LoadedModel:
        """The model, loaded if it is not here or its files have changed. Raises what catalog and load raise."""
        if model_id == SMOLLM2:
            prepare_smollm2(self._catalog.smollm2_folder, log.info)
        folder = self._catalog.folder(model_id)
        stamp = folder.stamp()
        if self._stamps.get(model_id) != stamp:
            self._forget(model_id)
            self._models[model_id] = load(folder, self._device, self._dtype)
            self._stamps[model_id] = stamp
        self._models.move_to_end(model_id)
        while len(self._models) > self._capacity:
            self._forget(next(iter(self._models)))
        return self._models[model_id]

    def intact(self, loaded: LoadedModel, task: Task[Any], seed: int) -> Outcomes:
        """The intact model's right and wrong answers on the task's test examples."""
        key = (loaded.id, task.fingerprint(seed), seed)
        if key not in self._intact:
            states = self.states(loaded, task, seed)
            self._intact[key] = all_answers(loaded, task, Deactivation(), seed, states)
        return self._intact[key]

    def states(self, loaded: LoadedModel, task: Task[Any], seed: int) -> States:
        """What is kept of passes over the task's test examples, for trials."""
        return self._states.of(loaded, task, seed)

    def _forget(self, model_id: str) -> None:
        self._models.pop(model_id, None)
        self._stamps.pop(model_id, None)
        self._states.forget(model_id)
        for key in [key for key in self._intact if key[0] == model_id]:
            del self._intact[key]


def pick_device(wanted: str) -> str:
    """'auto' is the first CUDA device where there is one, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
