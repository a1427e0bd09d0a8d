"""Fixtures that every test may use: the two demo models, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelshapley.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.demo import prepare_smollm2
from modelshapley.models import LoadedModel, load

ROOT = Path(__file__).parent.parent
TEST_DATA = Path(os.environ.get("MODELSHAPLEY_TEST_DATA", ROOT / ".data" / "test"))


@pytest.fixture(scope="session")
def prepared_data() -> Path:
    """A data directory that holds the converted demo language model; kept between test runs."""
    prepare_smollm2(Catalog(TEST_DATA).smollm2_folder)
    return TEST_DATA


@pytest.fixture(scope="session")
def digits_vit() -> LoadedModel:
    return load(Catalog(TEST_DATA).folder(DIGITS_VIT))


@pytest.fixture(scope="session")
def smollm2(prepared_data: Path) -> LoadedModel:
    return load(Catalog(prepared_data).folder(SMOLLM2))
