"""The library in six functions: load a model and a task, score, switch off and measure, evaluate, prune.

These names stand at the top of the package (`from modelshapley import score`) and stay put. Each is imported when it
is first used, so that `import modelshapley` loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelshapley.contracts import Comparison, Dtype
from modelshapley.contracts.task_files.file import read_file
from modelshapley.errors import ModelShapleyError
from modelshapley.models import hub
from modelshapley.models.catalog import SMOLLM2, Catalog, ModelFolder, inspect_folder
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.units import DEFAULT_KINDS, Deactivation, UnitKind

if TYPE_CHECKING:
    from modelshapley.contracts.applications.derived import DerivedInfo
    from modelshapley.evaluation.accuracy import Evaluation
    from modelshapley.maps.importance import ImportanceMap
    from modelshapley.models.loaded import LoadedModel
    from modelshapley.tasks.base import Task

DATA = Path(".data")
TASK_FILES = (".yaml", ".yml", ".json")


def load_model(
    name: str,
    device: str = "cpu",
    dtype: Dtype = "float32",
    data: Path = DATA,
    notify: Callable[[str], None] = lambda message: None,
) -> LoadedModel:
    """Load and verify a model: `demo:NAME`, `local:NAME`, the path of a folder, or OWNER/NAME of the Hugging Face hub.

    data: the data directory, where demo and local models lie. notify: called with a sentence where something takes
    long. Raises UnknownName, UnsafeModel, UnsupportedModel.
    """
    from modelshapley.models.loading import load

    return load(model_folder(name, data, notify), device, dtype)


def model_folder(name: str, data: Path = DATA, notify: Callable[[str], None] = lambda message: None) -> ModelFolder:
    """Return the checked folder of a model, after preparing a demo model or fetching a hub model.

    Raises the errors of `load_model`.
    """
    path = Path(name)
    if ":" not in name or path.is_dir():
        if not path.is_dir():
            if not hub.is_name(name):
                raise ModelShapleyError(f"{name!r} is neither a folder, nor demo:NAME, local:NAME or OWNER/NAME.")
            path = hub.model_folder(name)
        return inspect_folder(name, path.resolve())
    catalog = Catalog(data)
    if name == SMOLLM2:
        from modelshapley.models.demo import prepare_smollm2

        prepare_smollm2(catalog.smollm2_folder, notify)
    catalog.fetch(name)
    return catalog.folder(name)


def load_task(name: str | Path, datasets: Path | None = None, data: Path = DATA) -> Task[Any]:
    """Return a task by its name, or the task in a task file. Its examples are read when they are first needed.

    datasets: folder whose subfolders are the data of tasks, by their names; `datasets` in the data directory by
    default. Raises UnknownName, BadTask.
    """
    root = datasets or data / "datasets"
    if datasets is not None and not datasets.is_dir():
        raise ModelShapleyError(f"There is no folder {str(datasets)!r} of data.")
    file = Path(name)
    if file.suffix in TASK_FILES:
        return TaskCatalog([file.absolute().parent, root], confined=False).open(read_file(file))
    return TaskCatalog([root]).load(str(name))


def score(
    model: LoadedModel,
    task: Task[Any],
    method: str = "two-sided",
    units: Sequence[UnitKind | str] | None = None,
    limit: int = 256,
    seed: int = 0,
) -> ImportanceMap:
    """Score the model's units on the task's probe examples.

    method: its id with parameters, such as "path-shapley,points=4". units: kinds, such as ["head", "layer"]; all but
    rows by default. limit: at most so many examples. Raises TaskMismatch, UnknownName, BadParameter, OutOfMemory.
    """
    from modelshapley.methods import load_method
    from modelshapley.scoring.job import Scoring
    from modelshapley.scoring.job import score as run

    task.check(model)
    usual = [kind for kind in DEFAULT_KINDS if kind in model.anatomy.shapes.kinds]
    kinds = usual if units is None else [_kind(unit) for unit in units]
    (importance_map,) = run(Scoring(model, task, [load_method(method)], kinds, limit, seed)).values()
    return importance_map


def evaluate(
    model: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation = Deactivation(),  # noqa: B008  # frozen
    limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Return accuracy and loss of the model on the task's test examples, with some units off.

    limit: the first so many examples. Raises TaskMismatch, UnitOutOfRange, BadTreatment, OutOfMemory.
    """
    from modelshapley.evaluation.accuracy import evaluate as run
    from modelshapley.tasks.base import Split

    task.check(model)
    task.info.check_treatment(deactivation.treatment)
    return run(model, task, deactivation, task.select(model, Split.TEST, seed, limit))


def measure(
    model: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    limit: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare accuracy with some units off to the intact model's on the same test examples, with 95 % intervals.

    limit: the first so many examples. Units at their mean or with an offset are held at what the probe set shows.
    Raises TaskMismatch, UnitOutOfRange, BadTreatment, OutOfMemory.
    """
    from modelshapley.evaluation.activations import activations_of
    from modelshapley.evaluation.trials import answers, compare

    task.check(model)
    task.info.check_treatment(deactivation.treatment)
    needed = deactivation.treatment.needs_activations
    activations = activations_of(model, task, seed) if needed else None
    outcomes = []
    for units in (deactivation, Deactivation()):
        for correct, total in answers(model, task, units, seed, activations=activations):
            if len(correct) >= min(total, limit or total):
                break
        outcomes.append(correct[:limit])
    return compare(*outcomes)


def prune(
    model: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    folder: Path,
    importance_map: ImportanceMap | None = None,
    repair: Literal["least-squares", "means"] | None = None,
    seed: int = 0,
) -> DerivedInfo:
    """Save a smaller model, without the units of the deactivation, to a new folder that `from_pretrained` loads.

    Its logits are compared with the model's own with these units off, and its accuracy is measured on the task's test
    examples. importance_map: the map that chose the units, for the record. repair: if that lowers the loss of
    held-out probe examples, refit the last projections by least squares, or fold the units' means into their biases.
    Raises ModelShapleyError, TaskMismatch, UnitOutOfRange, BadTreatment, UnsupportedModel; see
    :func:`modelshapley.applications.pruning.prune`.
    """
    from modelshapley.applications.pruning import prune as run

    return run(model, task, deactivation, Path(folder), importance_map=importance_map, repaired=repair, seed=seed)


def _kind(name: UnitKind | str) -> UnitKind:
    """Raises UnknownName."""
    from modelshapley.errors import UnknownName

    try:
        return UnitKind(name)
    except ValueError:
        raise UnknownName("kind of unit", str(name), [kind.value for kind in UnitKind]) from None
