"""The name of a model to be made."""

from __future__ import annotations

import re
from typing import Any

import dash_mantine_components as dmc

from modelshapley.contracts.uploads import MODEL_NAME
from modelshapley.errors import ModelShapleyError


def name_input(identifier: str, placeholder: str) -> Any:
    """An input for a name."""
    return dmc.TextInput(id=identifier, label="Name", value="", placeholder=placeholder, inputProps={"maxLength": 80})


def named(name: str | None) -> str:
    """Return the name that was given. Raises ModelShapleyError for none, or one that cannot be a folder."""
    if not re.fullmatch(MODEL_NAME, name or ""):
        raise ModelShapleyError(
            "Give the model a name of letters, digits, '.', '_' and '-' that begins with a letter or digit."
        )
    return str(name)
