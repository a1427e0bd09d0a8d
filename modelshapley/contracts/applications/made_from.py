"""What the record of every model says that was made from another one."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from modelshapley.contracts.base import Contract


class MadeFromParent(Contract):
    """What every modelshapley.json says: the model it was made from, the task it was measured on, when, with what.

    job: id of the derived model on the server that made it; null where no server did.
    """

    format: Literal["modelshapley.derived.v1"] = "modelshapley.derived.v1"
    parent: str
    parent_revision: str
    family: str
    task: str
    task_fingerprint: str
    seed: int
    versions: dict[str, str]
    created: datetime
    job: str | None = None
