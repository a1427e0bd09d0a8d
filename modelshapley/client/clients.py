"""Clients of the REST API: `Client` for scripts, `AsyncClient` for the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import httpx

import modelshapley.client.calls as calls
from modelshapley.client.base import Call, headers_of, problem_of, read, unreachable
from modelshapley.client.prompting import PromptMethods
from modelshapley.client.sender import DEFAULT_URL, until_ended
from modelshapley.client.uploading import upload_files, upload_folder
from modelshapley.contracts import (
    ArchitectureInfo,
    AuditEntry,
    Caller,
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
    RunEvent,
    RunLabels,
    RunOrder,
    RunPage,
    RunRequest,
    Status,
    Trial,
    TrialEvent,
    TrialRequest,
    Upload,
    WorkerInfo,
)
from modelshapley.contracts.applications.derived import Derived, SizePrediction, SizeRequest
from modelshapley.contracts.applications.requests import UseRequest
from modelshapley.contracts.task_files.descriptions import TaskCheck, TaskCheckRequest, TaskInfo
from modelshapley.contracts.task_files.examples import TrialDetails, UnitExamples, UnitExamplesRequest
from modelshapley.contracts.task_files.file import TaskFile
from modelshapley.errors import ModelShapleyError
from modelshapley.units import UnitKind

T = TypeVar("T")
FORMS: tuple[calls.Form, ...] = ("csv", "parquet", "safetensors")


class Client(PromptMethods):
    """The API as blocking method calls. Raises ApiError with the API's problem, ApiUnreachable without a response.

    >>> with Client("http://127.0.0.1:8050") as api:      # doctest: +SKIP
    ...     run = api.wait(api.submit_run(RunRequest(model="demo:digits-vit", task="digits")).id)
    """

    def health(self) -> Health:
        return self.send(calls.health())

    def limits(self) -> Limits:
        """Return the limits of the server."""
        return self.send(calls.limits())

    def me(self) -> Caller:
        """Return whose key this client sends, and what that key may do."""
        return self.send(calls.me())

    def keys(self) -> list[Key]:
        """List the named keys; needs the scope admin, as the next three do."""
        return self.send(calls.keys())

    def create_key(self, request: KeyRequest) -> NewKey:
        """Make a named key; its `secret` is in this response only."""
        return self.send(calls.create_key(request))

    def revoke_key(self, key_id: str) -> Key:
        """Revoke a key, by its id or name."""
        return self.send(calls.revoke_key(key_id))

    def audit(self, limit: int = 100, offset: int = 0) -> list[AuditEntry]:
        """List who changed what, newest first."""
        return self.send(calls.audit(limit, offset))

    def models(self) -> list[ModelInfo]:
        return self.send(calls.models())

    def hub_model(self, name: str) -> ModelInfo:
        """Describe a hub model, OWNER/NAME or OWNER/NAME@REVISION; its `id` is pinned to a commit."""
        return self.send(calls.hub_model(name))

    def architectures(self) -> list[ArchitectureInfo]:
        return self.send(calls.architectures())

    def tasks(self) -> list[TaskInfo]:
        return self.send(calls.tasks())

    def task(self, name: str) -> TaskInfo:
        return self.send(calls.task(name))

    def task_file(self, name: str) -> str:
        """Return the task file as YAML."""
        return self.send(calls.task_file(name))

    def add_task(self, file: TaskFile | str) -> TaskInfo:
        """Add a task, or the text of a task file."""
        return self.send(calls.add_task(file))

    def drop_task(self, name: str) -> None:
        self.send(calls.drop_task(name))

    def check_task(self, request: TaskCheckRequest) -> TaskCheck:
        """Queue a preview of a task; see :meth:`wait_check`."""
        return self.send(calls.check_task(request))

    def task_check(self, check_id: str) -> TaskCheck:
        return self.send(calls.task_check(check_id))

    def wait_check(self, check_id: str) -> TaskCheck:
        """Block until the preview of a task has ended, and return it."""
        return until_ended(lambda: self.task_check(check_id))

    def methods(self) -> list[MethodInfo]:
        return self.send(calls.methods())

    def workers(self) -> list[WorkerInfo]:
        return self.send(calls.workers())

    def queues(self) -> list[QueueInfo]:
        """Return the number of waiting jobs in each queue."""
        return self.send(calls.queues())

    def failures(self, limit: int = 20) -> list[Failure]:
        """List recent failures, newest first."""
        return self.send(calls.failures(limit))

    def derive(self, request: UseRequest) -> Derived:
        """Queue a use of a map: a smaller, fine-tuned or quantised model, or a report; see :meth:`wait_derived`."""
        return self.send(calls.derive(request))

    def all_derived(self, run: str | None = None) -> list[Derived]:
        """List derived models and reports, newest first. run: only those of this run."""
        return self.send(calls.all_derived(run))

    def derived(self, derived_id: str) -> Derived:
        return self.send(calls.derived(derived_id))

    def wait_derived(self, derived_id: str) -> Derived:
        """Block until a derived model or report is done, failed or cancelled, and return it."""
        return until_ended(lambda: self.derived(derived_id))

    def drop_derived(self, derived_id: str) -> Derived:
        """Cancel a derived model or report in the making, or delete one that has ended."""
        return self.send(calls.drop_derived(derived_id))

    def predict_size(self, request: SizeRequest) -> SizePrediction:
        """Return the size of a model without a share of its parameters; blocks until a worker has computed it."""
        state = self.send(calls.predict_size(request))
        return until_ended(lambda: self.send(calls.predicted_size(state.id)), state)

    def submit_run(self, request: RunRequest) -> Run:
        return self.send(calls.submit_run(request))

    def estimate_run(self, request: RunRequest) -> Estimate:
        """Estimate the cost of a run, without queueing it."""
        return self.send(calls.estimate_run(request))

    def runs(
        self,
        limit: int = 20,
        offset: int = 0,
        search: str = "",
        status: Status | None = None,
        deleted: bool = False,
        tag: str | None = None,
        order: RunOrder = "newest",
    ) -> RunPage:
        """List runs. `search`: words that must be in name, model, task, methods, tags or comment; `deleted`: only
        deleted runs; `tag`: only runs that have it; `order`: newest first, in all or within each model or tag."""
        return self.send(calls.runs(limit, offset, search, status, deleted, tag, order))

    def label_run(self, run_id: str, labels: RunLabels) -> Run:
        """Set name, comment or tags of a run; fields that are not set stay."""
        return self.send(calls.label_run(run_id, labels))

    def run(self, run_id: str) -> Run:
        return self.send(calls.run(run_id))

    def cancel_run(self, run_id: str) -> Run:
        return self.send(calls.cancel_run(run_id))

    def delete_run(self, run_id: str) -> Run:
        """Delete a run; :meth:`bring_back_run` undoes it for as long as `limits` says."""
        return self.send(calls.delete_run(run_id))

    def bring_back_run(self, run_id: str) -> Run:
        return self.send(calls.bring_back_run(run_id))

    def importance_map(
        self,
        run_id: str,
        method: str,
        unit: UnitKind | str,
        columns: int | None = None,
        harm: Harm | None = None,
        pool: Literal["maps"] | None = None,
        label: str | None = None,
    ) -> MapData:
        """Fetch a map. `label`: a class in the run's `classes`, for the map of its examples."""
        return self.send(calls.importance_map(run_id, method, unit, columns, harm, pool, label))

    def save_map(self, run_id: str, method: str, unit: UnitKind | str, file: Path, label: str | None = None) -> None:
        """Write a map, or that of the class `label`, as .csv, .parquet or .safetensors, by the file's suffix."""
        form = next((known for known in FORMS if file.suffix == f".{known}"), None)
        if form is None:
            raise ModelShapleyError(f"{file.name}: a map is saved as .csv, .parquet or .safetensors.")
        file.write_bytes(self.send(calls.map_file(run_id, method, unit, form, label)))

    def save_report(self, run_id: str, file: Path, method: str | None = None) -> None:
        """Write a finished run as one HTML file that opens anywhere; method: the run's first by default."""
        params = {} if method is None else {"method": method}
        try:
            response = self._http.get(f"/runs/{quote(run_id, safe='')}/report", params=params)
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
        if not response.is_success:
            raise problem_of(response)
        file.write_bytes(response.content)

    def partial_map(
        self, run_id: str, method: str, unit: UnitKind | str, columns: int | None = None, after: int = 0
    ) -> PartialMap | None:
        """Fetch the map so far of a run that is being scored; None until there is one of more than `after` examples."""
        return self.send(calls.partial_map(run_id, method, unit, columns, after))

    def faithfulness(self, run_id: str) -> Faithfulness:
        """Fetch the report on how far the maps of a finished run can be trusted; it grows until its `status` has
        ended.
        """
        return self.send(calls.faithfulness(run_id))

    def check_maps(self, run_id: str, effort: Literal["quick", "full"] = "quick") -> Faithfulness:
        """Queue a check of the maps of a finished run, or a more thorough one; see :meth:`checked`."""
        return self.send(calls.check_maps(run_id, effort))

    def cancel_check(self, run_id: str) -> Run:
        """Cancel the check of a run's maps, waiting or running."""
        return self.send(calls.cancel_check(run_id))

    def checked(self, run_id: str) -> Faithfulness:
        """Block until the maps of a finished run have been checked, and return the report."""
        return until_ended(lambda: self.faithfulness(run_id))

    def run_trials(self, run_id: str, limit: int = 100, alone: str | None = None) -> list[Trial]:
        """List the trials of a run by all users, newest first; `alone`: only those of one unit by itself,
        'head:1.4'.
        """
        return self.send(calls.run_trials(run_id, limit, alone))

    def details(self, trial_id: str) -> TrialDetails:
        """Block until the classes and flipped examples of a finished trial are known, and return them."""
        details = self.send(calls.compute_trial_details(trial_id))
        return until_ended(lambda: self.send(calls.trial_details(trial_id)), details)

    def unit_examples(self, run_id: str, kind: UnitKind, unit: Sequence[int]) -> UnitExamples:
        """Block until the scored examples that a unit affects most are known, and return them."""
        pending = self.send(calls.find_unit_examples(run_id, UnitExamplesRequest(kind=kind, unit=list(unit))))
        return until_ended(lambda: self.send(calls.unit_examples(run_id, pending.id)), pending)

    def groups(self, model: str) -> list[Group]:
        """List the saved groups of a model's units."""
        return self.send(calls.groups(model))

    def add_group(self, request: GroupRequest) -> Group:
        return self.send(calls.add_group(request))

    def drop_group(self, group_id: str) -> None:
        self.send(calls.drop_group(group_id))

    def uploads(self) -> list[Upload]:
        """List the uploads in progress."""
        return self.send(calls.uploads())

    def delete_model(self, model_id: str) -> None:
        """Delete an uploaded model, local:NAME, that no run uses."""
        self.send(calls.delete_model(model_id))

    def drop_upload(self, upload_id: str) -> None:
        self.send(calls.drop_upload(upload_id))

    def upload_model(
        self, folder: Path, name: str | None = None, told: Callable[[int, int], None] = lambda done, total: None
    ) -> ModelInfo:
        """Send a folder of config.json, safetensors and tokenizer files; it becomes `local:<name>`.

        name: the folder's name by default. told: called with the bytes received by the server, and the total. After an
        interruption, another call resumes the upload. Other files of the folder are not sent. Raises ApiError if the
        server refuses the model.
        """
        return upload_folder(self.send, folder, name or folder.resolve().name, told)

    def upload_data(
        self,
        files: Path | Sequence[Path],
        name: str | None = None,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> Dataset:
        """Send data for tasks, and block until the server has inspected them: a task reads them by the result's `path`.

        files: one csv, jsonl or parquet file, several named by their splits (train, test), or a zip file of pictures,
        a folder for each class. name: the first file's by default. told, interruptions: as in :meth:`upload_model`.
        Raises ApiError if the server refuses the data.
        """
        return upload_files(self.send, [files] if isinstance(files, Path) else list(files), name, told)

    def datasets(self) -> list[Dataset]:
        """List the uploaded data, newest first."""
        return self.send(calls.datasets())

    def delete_dataset(self, name: str) -> None:
        """Delete uploaded data that no added task reads."""
        self.send(calls.delete_dataset(name))

    def submit_trial(self, request: TrialRequest) -> Trial:
        return self.send(calls.submit_trial(request))

    def trial(self, trial_id: str) -> Trial:
        return self.send(calls.trial(trial_id))

    def run_events(self, run_id: str) -> Iterator[RunEvent]:
        """Yield progress and status as they happen, until the run ends."""
        return self.events(f"/runs/{run_id}/events", RunEvent)

    def trial_events(self, trial_id: str) -> Iterator[TrialEvent]:
        """Yield the trial after every chunk, until it ends."""
        return self.events(f"/trials/{trial_id}/events", TrialEvent)

    def wait(self, run_id: str) -> Run:
        """Block until a run has ended, and return it."""
        for _ in self.run_events(run_id):
            pass
        return self.run(run_id)

    def measure(self, request: TrialRequest) -> Trial:
        """Submit a trial and block until it has ended."""
        submitted = self.submit_trial(request)
        for _ in self.trial_events(submitted.id):
            pass
        return self.trial(submitted.id)


class AsyncClient:
    """A client that sends the same calls without blocking: ``await api.send(client.run(run_id))``."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=headers_of(api_key), transport=transport, timeout=timeout
        )

    async def send(self, call: Call[T]) -> T:
        try:
            return read(call, await self._http.send(call.request(self._http)))
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error

    async def close(self) -> None:
        await self._http.aclose()
