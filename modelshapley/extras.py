"""Optional packages: what is missing is said in a sentence, with the extra that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from modelshapley.errors import ModelShapleyError

SERVER = (
    "alembic",
    "dash",
    "dash_mantine_components",
    "fastapi",
    "fastapi_offline",
    "fsspec",
    "plotly",
    "prometheus_client",
    "pydantic_settings",
    "redis",
    "rq",
    "sqlalchemy",
    "starlette_compress",
    "uvicorn",
)
"""Modules of the extra `server`, but for the embedded Redis, which an installed one can replace."""


def is_installed(*modules: str) -> bool:
    """Return whether all these modules can be imported; imports none of them."""
    return all(find_spec(module) is not None for module in modules)


def require(purpose: str, extra: str, *modules: str) -> None:
    """Raise ModelShapleyError unless these modules of an extra are installed. purpose: 'LoRA adapters need', say."""
    for module in modules:
        if not is_installed(module):
            raise missing(purpose, extra, module)


def missing(purpose: str, extra: str, module: str) -> ModelShapleyError:
    """Return the error for a module that is not installed."""
    return ModelShapleyError(f"{purpose} {module}: pip install 'modelshapley[{extra}]'.")
