"""From what the user named to the task and the model: the model verified, the task not yet read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelshapley.cli.options import notes
from modelshapley.contracts import Dtype
from modelshapley.contracts.task_file import read_file
from modelshapley.errors import ModelShapleyError
from modelshapley.models import hub
from modelshapley.models.catalog import SMOLLM2, Catalog, ModelFolder, inspect_folder
from modelshapley.tasks.catalog import TaskCatalog

if TYPE_CHECKING:
    from modelshapley.models.loading import LoadedModel
    from modelshapley.tasks.base import Task

TASK_FILES = (".yaml", ".yml", ".json")


def find_task(name: str, data: Path, datasets: Path | None = None) -> Task[Any]:
    """A task by its name, or the task in a file. Raises UnknownName, BadTask."""
    root = datasets or data / "datasets"
    if datasets is not None and not datasets.is_dir():
        raise ModelShapleyError(f"There is no folder {str(datasets)!r} of data.")
    file = Path(name)
    if file.suffix in TASK_FILES:
        return TaskCatalog([file.absolute().parent, root], confined=False).open(read_file(file))
    return TaskCatalog([root]).load(name)


def open_model(model: str, data: Path, device: str = "cpu", dtype: Dtype = "float32") -> LoadedModel:
    """The verified model of this id, or in this folder."""
    from modelshapley.models.loading import load

    return load(model_folder(model, data), device, dtype)


def model_folder(model: str, data: Path) -> ModelFolder:
    path = Path(model)
    if ":" not in model or path.is_dir():
        if not path.is_dir():
            if not hub.NAME.fullmatch(model):
                raise ModelShapleyError(f"{model!r} is neither a folder, nor demo:NAME, local:NAME or OWNER/NAME.")
            path = hub.model_folder(model)
        return inspect_folder(model, path.resolve())
    catalog = Catalog(data)
    if model == SMOLLM2:
        from modelshapley.models.demo import prepare_smollm2

        prepare_smollm2(catalog.smollm2_folder, notes.print)
    catalog.fetch(model)
    return catalog.folder(model)
