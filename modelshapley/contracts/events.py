"""Server-sent events of runs, trials and prompts."""

from __future__ import annotations

from typing import Literal

from modelshapley.contracts.base import Contract
from modelshapley.contracts.prompts import Prompt, PromptStep
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


class PromptEvent(Contract):
    """One server-sent event of a prompt.

    'status' and 'progress': `data` is the prompt as it is now; a 'status' replaces the columns, a 'progress' says only
    that it goes on. 'tokens': `data` is what one step adds to the columns.
    """

    id: str
    event: Literal["progress", "status", "tokens"]
    data: Prompt | PromptStep
