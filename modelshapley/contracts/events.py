"""Server-sent events of runs and trials."""

from __future__ import annotations

from typing import Literal

from modelshapley.contracts.base import Contract
from modelshapley.contracts.runs import Run
from modelshapley.contracts.trials import Trial


class RunEvent(Contract):
    """One server-sent event of a run: `event` is 'progress' or 'status'; `data` is the run as it is now."""

    id: str
    event: Literal["progress", "status"]
    data: Run


class TrialEvent(Contract):
    """One server-sent event of a trial: `event` is 'progress' or 'status'; `data` is the trial as it is now."""

    id: str
    event: Literal["progress", "status"]
    data: Trial
