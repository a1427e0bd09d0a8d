"""lm-evaluation-harness around a model with some units off. Needs the extra `lm-eval`; runs the harness' own code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from modelshapley.errors import BadData, BadTask, TaskMismatch, UnknownName
from modelshapley.evaluation.activations import Activations
from modelshapley.extras import require
from modelshapley.interventions.gates import treated
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation

CAUSAL = "AutoModelForCausalLM"


def require_harness() -> None:
    """Raise ModelShapleyError unless the harness is installed."""
    require("lm-evaluation-harness needs", "lm-eval", "lm_eval")


def evaluate(
    model: LoadedModel,
    tasks: Sequence[str],
    deactivation: Deactivation = Deactivation(),  # noqa: B008  # frozen
    activations: Activations | None = None,
    limit: int | None = None,
    few_shot: int | None = None,
    batch_size: int = 1,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Return the harness' results, as its `simple_evaluate` does, of the model with these units treated.

    tasks: names that the harness knows, or its YAML files. activations: for means and offsets. limit: examples of each
    task. few_shot: worked examples in front; None: as each task says. folder: more of the harness' YAML files, for
    tasks by name. The harness runs the Python that a task of it holds, unlike tasks of our own. Raises TaskMismatch,
    UnknownName, BadTask, BadData, UnitOutOfRange, BadTreatment.
    """
    require_harness()
    import lm_eval
    from datasets.exceptions import DatasetsError
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    if model.anatomy.auto_class != CAUSAL:
        raise TaskMismatch.of(", ".join(tasks), CAUSAL, model.id, model.anatomy.auto_class)
    # The index of the harness' own tasks takes seconds; files need none.
    manager = TaskManager(
        include_path=None if folder is None else str(folder),
        include_defaults=not all(_is_file(name) for name in tasks),
    )
    specs = [_spec(name, manager) for name in tasks]
    wrapped = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
    with treated(model.model, model.anatomy, deactivation, activations):
        try:
            found = lm_eval.simple_evaluate(
                wrapped, tasks=specs, task_manager=manager, limit=limit, num_fewshot=few_shot, batch_size=batch_size
            )
        except (OSError, DatasetsError) as error:
            raise BadData(f"The data of {', '.join(tasks)} cannot be read: {error}".splitlines()[0]) from error
        except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:  # of a file that is no task
            problem = f"lm-evaluation-harness stops with {type(error).__name__}: {error}".splitlines()[0]
            raise BadTask(", ".join(tasks), [("", problem)]) from error
    results: dict[str, Any] = found
    return results


def table(results: dict[str, Any]) -> str:
    """Return results as the harness' own table (Markdown), with that of groups below."""
    from lm_eval.utils import make_table

    tables = [make_table(results)]
    if results.get("groups"):
        tables.append(make_table(results, "groups"))
    return "\n".join(tables)


def _spec(name: str, manager: Any) -> str:
    """Return a task as the harness takes it. Raises UnknownName, BadTask."""
    if _is_file(name):
        if not Path(name).is_file():
            raise BadTask(repr(name), [("", "there is no such file")])
        return str(Path(name).absolute())
    if not manager.match_tasks([name]):
        near = [known for known in manager.all_tasks if name.split("_")[0] in known][:10]
        raise UnknownName("task of lm-evaluation-harness", name, near)
    return name


def _is_file(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")
