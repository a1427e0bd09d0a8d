"""One :class:`Call` for each route of the API."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from modelshapley.client.base import Call, json_reader
from modelshapley.contracts import (
    ArchitectureInfo,
    AuditEntry,
    Caller,
    CheckRequest,
    Dataset,
    Estimate,
    Failure,
    Faithfulness,
    Group,
    GroupRequest,
    Harm,
    Health,
    Key,
    KeyRequest,
    Limits,
    MapData,
    MethodInfo,
    ModelInfo,
    NewKey,
    PartialMap,
    QueueInfo,
    Run,
    RunLabels,
    RunOrder,
    RunPage,
    RunRequest,
    Status,
    Trial,
    TrialRequest,
    Upload,
    UploadedFile,
    UploadRequest,
    WorkerInfo,
)
from modelshapley.contracts.applications.derived import Derived, SizePrediction, SizeRequest
from modelshapley.contracts.applications.requests import UseRequest
from modelshapley.contracts.prompts import Prompt, PromptComparison, PromptMap, PromptMapRequest, PromptRequest
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest, TaskInfo
from modelshapley.contracts.task_files.examples import TrialDetails, UnitExamples, UnitExamplesRequest
from modelshapley.contracts.task_files.file import TaskFile
from modelshapley.units import UnitKind

Form = Literal["csv", "safetensors", "parquet"]


def health() -> Call[Health]:
    return Call("GET", "/health", json_reader(Health))


def limits() -> Call[Limits]:
    return Call("GET", "/limits", json_reader(Limits))


def me() -> Call[Caller]:
    return Call("GET", "/me", json_reader(Caller))


def keys() -> Call[list[Key]]:
    return Call("GET", "/keys", json_reader(list[Key]))


def create_key(request: KeyRequest) -> Call[NewKey]:
    return Call("POST", "/keys", json_reader(NewKey), body=request.model_dump(mode="json"))


def revoke_key(key_id: str) -> Call[Key]:
    return Call("DELETE", f"/keys/{quote(key_id, safe='')}", json_reader(Key))


def audit(limit: int = 100, offset: int = 0) -> Call[list[AuditEntry]]:
    return Call("GET", "/audit", json_reader(list[AuditEntry]), params={"limit": limit, "offset": offset})


def models() -> Call[list[ModelInfo]]:
    return Call("GET", "/models", json_reader(list[ModelInfo]))


def hub_model(name: str) -> Call[ModelInfo]:
    return Call("GET", "/models/hub", json_reader(ModelInfo), params={"name": name})


def architectures() -> Call[list[ArchitectureInfo]]:
    return Call("GET", "/architectures", json_reader(list[ArchitectureInfo]))


def tasks() -> Call[list[TaskInfo]]:
    return Call("GET", "/tasks", json_reader(list[TaskInfo]))


def task(name: str) -> Call[TaskInfo]:
    return Call("GET", f"/tasks/{name}", json_reader(TaskInfo))


def task_file(name: str) -> Call[str]:
    """Fetch a task file as YAML."""
    return Call("GET", f"/tasks/{name}/file", lambda response: response.text, params={"format": "yaml"})


def add_task(file: TaskFile | str) -> Call[TaskInfo]:
    """Add a task. file: a task, or the text of a task file, YAML or JSON."""
    if isinstance(file, str):
        return Call("POST", "/tasks", json_reader(TaskInfo), content=(file, "application/yaml"))
    return Call("POST", "/tasks", json_reader(TaskInfo), body=file.model_dump(mode="json", exclude_defaults=True))


def drop_task(name: str) -> Call[None]:
    return Call("DELETE", f"/tasks/{name}", lambda _: None)


def check_task(request: TaskCheckRequest) -> Call[TaskCheck]:
    body = request.model_dump(mode="json", exclude_defaults=True)
    return Call("POST", "/tasks/checks", json_reader(TaskCheck), body=body)


def task_check(check_id: str) -> Call[TaskCheck]:
    return Call("GET", f"/tasks/checks/{check_id}", json_reader(TaskCheck))


def methods() -> Call[list[MethodInfo]]:
    return Call("GET", "/methods", json_reader(list[MethodInfo]))


def workers() -> Call[list[WorkerInfo]]:
    return Call("GET", "/workers", json_reader(list[WorkerInfo]))


def queues() -> Call[list[QueueInfo]]:
    return Call("GET", "/queues", json_reader(list[QueueInfo]))


def failures(limit: int = 20) -> Call[list[Failure]]:
    return Call("GET", "/failures", json_reader(list[Failure]), params={"limit": limit})


def submit_run(request: RunRequest) -> Call[Run]:
    return Call("POST", "/runs", json_reader(Run), body=request.model_dump(mode="json", exclude_unset=True))


def estimate_run(request: RunRequest) -> Call[Estimate]:
    return Call(
        "POST", "/runs/estimate", json_reader(Estimate), body=request.model_dump(mode="json", exclude_unset=True)
    )


def runs(
    limit: int = 20,
    offset: int = 0,
    search: str = "",
    status: Status | None = None,
    deleted: bool = False,
    tag: str | None = None,
    order: RunOrder = "newest",
) -> Call[RunPage]:
    params = {"limit": limit, "offset": offset, "search": search or None, "status": status, "tag": tag}
    more = {"deleted": deleted or None, "order": None if order == "newest" else order}
    return Call("GET", "/runs", json_reader(RunPage), params=params | more)


def label_run(run_id: str, labels: RunLabels) -> Call[Run]:
    body = labels.model_dump(mode="json", exclude_unset=True)
    return Call("PATCH", f"/runs/{run_id}", json_reader(Run), body=body)


def run(run_id: str) -> Call[Run]:
    return Call("GET", f"/runs/{run_id}", json_reader(Run))


def cancel_run(run_id: str) -> Call[Run]:
    return Call("DELETE", f"/runs/{run_id}", json_reader(Run))


def delete_run(run_id: str) -> Call[Run]:
    return Call("PUT", f"/runs/{run_id}/deleted", json_reader(Run))


def bring_back_run(run_id: str) -> Call[Run]:
    return Call("DELETE", f"/runs/{run_id}/deleted", json_reader(Run))


def importance_map(
    run_id: str,
    method: str,
    unit: UnitKind | str,
    columns: int | None = None,
    harm: Harm | None = None,
    pool: Literal["maps"] | None = None,
    label: str | None = None,
) -> Call[MapData]:
    params = {"columns": columns, "harm": harm, "pool": pool, "class": label}
    return Call("GET", f"/runs/{run_id}/maps/{method}/{unit}", json_reader(MapData), params=params)


def partial_map(
    run_id: str, method: str, unit: UnitKind | str, columns: int | None = None, after: int = 0
) -> Call[PartialMap | None]:
    params = {"columns": columns, "after": after}
    return Call("GET", f"/runs/{run_id}/partial/{method}/{unit}", json_reader(PartialMap | None), params=params)


def partial_map_file(run_id: str, method: str, unit: UnitKind | str, after: int = 0) -> Call[bytes]:
    """Fetch the map of a run so far as safetensors; no bytes until there is one of more than `after` examples."""
    params = {"format": "safetensors", "after": after}
    return Call("GET", f"/runs/{run_id}/partial/{method}/{unit}", lambda r: r.content, params=params)


def map_file(
    run_id: str,
    method: str,
    unit: UnitKind | str,
    form: Form,
    label: str | None = None,
) -> Call[bytes]:
    params = {"format": form, "class": label}
    return Call("GET", f"/runs/{run_id}/maps/{method}/{unit}", lambda r: r.content, params=params)


def faithfulness(run_id: str) -> Call[Faithfulness]:
    return Call("GET", f"/runs/{run_id}/faithfulness", json_reader(Faithfulness))


def cancel_check(run_id: str) -> Call[Run]:
    return Call("DELETE", f"/runs/{run_id}/faithfulness", json_reader(Run))


def check_maps(run_id: str, effort: Literal["quick", "full"] = "quick") -> Call[Faithfulness]:
    body = CheckRequest(effort=effort).model_dump(mode="json")
    return Call("POST", f"/runs/{run_id}/faithfulness", json_reader(Faithfulness), body=body)


def run_trials(run_id: str, limit: int = 100, alone: str | None = None) -> Call[list[Trial]]:
    """List the trials of a run. alone: only those of one unit by itself, 'head:1.4' or 'layer:3'."""
    return Call("GET", f"/runs/{run_id}/trials", json_reader(list[Trial]), params={"limit": limit, "alone": alone})


def compute_trial_details(trial_id: str) -> Call[TrialDetails]:
    return Call("POST", f"/trials/{trial_id}/details", json_reader(TrialDetails))


def trial_details(trial_id: str) -> Call[TrialDetails]:
    return Call("GET", f"/trials/{trial_id}/details", json_reader(TrialDetails))


def find_unit_examples(run_id: str, request: UnitExamplesRequest) -> Call[UnitExamples]:
    body = request.model_dump(mode="json")
    return Call("POST", f"/runs/{run_id}/unit-examples", json_reader(UnitExamples), body=body)


def unit_examples(run_id: str, look_id: str) -> Call[UnitExamples]:
    return Call("GET", f"/runs/{run_id}/unit-examples/{look_id}", json_reader(UnitExamples))


def groups(model: str) -> Call[list[Group]]:
    return Call("GET", "/groups", json_reader(list[Group]), params={"model": model})


def add_group(request: GroupRequest) -> Call[Group]:
    return Call("POST", "/groups", json_reader(Group), body=request.model_dump(mode="json"))


def drop_group(group_id: str) -> Call[None]:
    return Call("DELETE", f"/groups/{group_id}", lambda _: None)


def begin_upload(request: UploadRequest) -> Call[Upload]:
    return Call("POST", "/uploads", json_reader(Upload), body=request.model_dump(mode="json"))


def uploads() -> Call[list[Upload]]:
    return Call("GET", "/uploads", json_reader(list[Upload]))


def upload(upload_id: str) -> Call[Upload]:
    return Call("GET", f"/uploads/{upload_id}", json_reader(Upload))


def add_piece(upload_id: str, name: str, offset: int, piece: bytes) -> Call[UploadedFile]:
    path, content = f"/uploads/{upload_id}/files/{name}", (piece, "application/octet-stream")
    return Call("PUT", path, json_reader(UploadedFile), params={"offset": offset}, content=content)


def finish_upload(upload_id: str) -> Call[ModelInfo]:
    return Call("POST", f"/uploads/{upload_id}/finish", json_reader(ModelInfo))


def finish_data(upload_id: str) -> Call[Upload]:
    """Begin to inspect uploaded data; poll :func:`upload` until it is gone or failed."""
    return Call("POST", f"/uploads/{upload_id}/finish", json_reader(Upload))


def datasets() -> Call[list[Dataset]]:
    return Call("GET", "/datasets", json_reader(list[Dataset]))


def dataset(name: str) -> Call[Dataset]:
    return Call("GET", f"/datasets/{quote(name, safe='')}", json_reader(Dataset))


def delete_dataset(name: str) -> Call[None]:
    """Delete uploaded data that no added task reads."""
    return Call("DELETE", f"/datasets/{quote(name, safe='')}", lambda _: None)


def delete_model(model_id: str) -> Call[None]:
    """Delete an uploaded model, local:NAME, that no run uses."""
    return Call("DELETE", f"/models/{quote(model_id, safe=':')}", lambda _: None)


def drop_upload(upload_id: str) -> Call[None]:
    return Call("DELETE", f"/uploads/{upload_id}", lambda _: None)


def submit_trial(request: TrialRequest) -> Call[Trial]:
    return Call("POST", "/trials", json_reader(Trial), body=request.model_dump(mode="json", exclude_none=True))


def trial(trial_id: str) -> Call[Trial]:
    return Call("GET", f"/trials/{trial_id}", json_reader(Trial))


def submit_prompt(request: PromptRequest) -> Call[Prompt]:
    return Call("POST", "/prompts", json_reader(Prompt), body=request.model_dump(mode="json", exclude_defaults=True))


def prompt(prompt_id: str) -> Call[Prompt]:
    return Call("GET", f"/prompts/{prompt_id}", json_reader(Prompt))


def cancel_prompt(prompt_id: str) -> Call[Prompt]:
    return Call("DELETE", f"/prompts/{prompt_id}", json_reader(Prompt))


def prompt_comparison(prompt_id: str) -> Call[PromptComparison]:
    return Call("GET", f"/prompts/{prompt_id}/comparison", json_reader(PromptComparison))


def map_answer(prompt_id: str, request: PromptMapRequest) -> Call[PromptMap]:
    body = request.model_dump(mode="json", exclude_unset=True)
    return Call("POST", f"/prompts/{prompt_id}/map", json_reader(PromptMap), body=body)


def answer_map(prompt_id: str) -> Call[PromptMap]:
    return Call("GET", f"/prompts/{prompt_id}/map", json_reader(PromptMap))


def answer_scores(prompt_id: str, unit: UnitKind | str, columns: int | None = None) -> Call[MapData]:
    return Call("GET", f"/prompts/{prompt_id}/map/{unit}", json_reader(MapData), params={"columns": columns})


def keep_prompt(prompt_id: str, request: PromptMapRequest) -> Call[Run]:
    body = request.model_dump(mode="json", exclude_unset=True)
    return Call("POST", f"/prompts/{prompt_id}/run", json_reader(Run), body=body)


def derive(request: UseRequest) -> Call[Derived]:
    body = request.model_dump(mode="json", exclude_defaults=True) | {"use": request.use}
    return Call("POST", "/derived", json_reader(Derived), body=body)


def all_derived(run: str | None = None, limit: int = 50) -> Call[list[Derived]]:
    """List derived models and reports. run: only those of this run."""
    return Call("GET", "/derived", json_reader(list[Derived]), params={"run": run, "limit": limit})


def derived(derived_id: str) -> Call[Derived]:
    return Call("GET", f"/derived/{derived_id}", json_reader(Derived))


def drop_derived(derived_id: str) -> Call[Derived]:
    """Cancel a derived model or report in the making, or delete one that has ended."""
    return Call("DELETE", f"/derived/{derived_id}", json_reader(Derived))


def predict_size(request: SizeRequest) -> Call[SizePrediction]:
    return Call("POST", "/derived/sizes", json_reader(SizePrediction), body=request.model_dump(mode="json"))


def predicted_size(size_id: str) -> Call[SizePrediction]:
    return Call("GET", f"/derived/sizes/{size_id}", json_reader(SizePrediction))
