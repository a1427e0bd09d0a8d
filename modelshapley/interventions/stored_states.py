"""Stored hidden states: all in host memory, and copies of the most recently used on their device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

SHARE = 0.25  # of the free memory of a device: batches and other jobs need the rest
Allowance = Callable[[torch.device, int], int]


@dataclass(frozen=True, eq=False)
class StoredState:
    """A hidden state in host memory, and the device that it belongs on."""

    host: Tensor
    device: torch.device


def share_of_free_memory(device: torch.device, held: int) -> int:
    """Return how many bytes copies may occupy on a device where they occupy `held`; 0 where host memory is used anyway.

    Memory that torch has reserved and does not use counts as free.
    """
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(SHARE * (free + idle + held))


class DeviceTier:
    """Copies of stored states on their devices, as many of the most recently used as the allowance permits.

    Reading a state copies it to its device, and that copy stays; states that no trial starts at take no room. Copies go
    with their states. allowance: (device, bytes of copies on it) -> bytes that copies may occupy there.
    """

    def __init__(self, allowance: Allowance = share_of_free_memory) -> None:
        self._allowance = allowance
        self._copies: WeakKeyDictionary[StoredState, Tensor] = WeakKeyDictionary()  # the most recently used comes last

    @property
    def bytes(self) -> int:
        """Bytes that the copies occupy, on all devices."""
        return sum(copy.nbytes for copy in self._copies.values())

    def read(self, state: StoredState) -> Tensor:
        """Return a new tensor with the values of a state, on its device; the caller may write into it."""
        copy = self._copies.pop(state, None)
        if copy is None:
            copy = state.host.to(state.device, copy=True)
            if not self._make_room(state.device, copy.nbytes):
                return copy
        self._copies[state] = copy
        return copy.clone()

    def clear(self) -> bool:
        """Drop all copies; return whether there were any."""
        had_any = len(self._copies) > 0
        self._copies.clear()
        return had_any

    def _make_room(self, device: torch.device, needed: int) -> bool:
        """Drop copies on a device, least recently used first, until `needed` more bytes fit; return whether they do."""
        states = [state for state in self._copies if state.device == device]
        held = sum(self._copies[state].nbytes for state in states)
        allowed = self._allowance(device, held)
        if needed > allowed:
            return False
        for state in states:
            if held + needed <= allowed:
                break
            held -= self._copies.pop(state).nbytes
        return True
