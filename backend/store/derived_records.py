"""Records of uses of maps: derived models, and reports on units."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from sqlalchemy import delete, select, update

from backend.store.database import Database, new_id, now, require
from backend.store.tables import OPEN, DerivedRow
from modelshapley.contracts import Off, Progress, Run, Status
from modelshapley.contracts.applications.derived import OUTCOME_FIELDS, Derived, DerivedInfo, DerivedRequest, Use
from modelshapley.contracts.applications.finetuning import FinetunedInfo
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.contracts.applications.recommendations import Recommendation
from modelshapley.contracts.applications.reports import AmplifyReport, ProbeReport
from modelshapley.contracts.applications.requests import (
    USE_REQUEST,
    UnitsRequest,
    UseRequest,
)
from modelshapley.errors import Conflict
from modelshapley.models.catalog import DERIVED

REPORTS = ("probe", "amplify")  # uses that make no model
OUTCOMES: dict[str, Any] = {
    "prune": DerivedInfo,
    "finetune": FinetunedInfo,
    "quantise": QuantisedInfo,
    "probe": ProbeReport,
    "amplify": AmplifyReport,
}
"""By use: the contract of its outcome."""


class Chosen(NamedTuple):
    """Units to use, and the method and provenance of the map that chose them, if a map did."""

    off: Off
    method: str | None = None
    provenance: dict[str, Any] | None = None


class DerivedRecords(Database):
    """Records of uses of maps. A status only moves forward, as that of runs."""

    def add_derived(self, request: UseRequest, run: Run, owner: str | None = None) -> Derived:
        """Add a use of a map. Raises Conflict if a model that is being made has its name."""
        row = _new_row(request, run)
        row.owner = owner
        with self._session() as session:
            same = select(DerivedRow.id).where(DerivedRow.name == row.name, DerivedRow.status.in_(OPEN))
            if request.use not in REPORTS and session.scalars(same).first() is not None:
                raise Conflict(f"A derived model {row.name!r} is being made already; choose another name.")
            session.add(row)
            session.flush()
            return _derived(row)

    def derived(self, derived_id: str) -> Derived:
        """Return a derived model. Raises NotFound."""
        with self._session() as session:
            return _derived(require(session.get(DerivedRow, derived_id), "derived model", derived_id))

    def all_derived(self, limit: int, run: str | None = None) -> list[Derived]:
        """List derived models, newest first. run: only those made from this run."""
        query = select(DerivedRow).order_by(DerivedRow.created.desc()).limit(limit)
        with self._session() as session:
            return [_derived(row) for row in session.scalars(query.where(DerivedRow.run == run) if run else query)]

    def unfinished_derived(self) -> list[Derived]:
        """Return the derived models that are queued or being made."""
        with self._session() as session:
            return [_derived(row) for row in session.scalars(select(DerivedRow).where(DerivedRow.status.in_(OPEN)))]

    def begin_derived(self, derived_id: str, worker: str) -> Derived | None:
        """Record that a worker makes a derived model; None if it is not open any more."""
        return self.update_derived(derived_id, status=Status.RUNNING, worker=worker, started=now())

    def chosen(self, derived_id: str) -> Chosen | None:
        """Return the units of a derived model; None until they are chosen. Raises NotFound."""
        with self._session() as session:
            row = require(session.get(DerivedRow, derived_id), "derived model", derived_id)
            return None if row.chosen is None else _unpacked(row.chosen)

    def choose(self, derived_id: str, chosen: Chosen, recommendation: Recommendation | None = None) -> Derived | None:
        """Record the chosen units; None if the derived model is not open any more."""
        values: dict[str, Any] = {"chosen": _packed(chosen)}
        if recommendation is not None:
            values["recommendation"] = recommendation.model_dump(mode="json")
        return self.update_derived(derived_id, **values)

    def use_request(self, derived_id: str) -> UseRequest:
        """Return the request as it was sent. Raises NotFound."""
        with self._session() as session:
            row = require(session.get(DerivedRow, derived_id), "derived model", derived_id)
            data = dict(row.request or {})
            if row.chosen is not None and "most" not in data and row.use != "prune":
                data["units"] = row.chosen["off"]
            return USE_REQUEST.validate_python(data | {"use": row.use})

    def update_derived(self, derived_id: str, **values: Any) -> Derived | None:
        """Set columns while the derived model is queued or being made; else return None."""
        if Status(values.get("status", Status.QUEUED)).ended:
            values |= {"finished": now(), "step": None, "eta_s": None}
        query = update(DerivedRow).where(DerivedRow.id == derived_id, DerivedRow.status.in_(OPEN))
        with self._session() as session:
            changed = session.execute(query.values(**values))
            if changed.rowcount == 0:  # type: ignore[attr-defined]  # a CursorResult for every UPDATE
                return None
            return _derived(require(session.get(DerivedRow, derived_id), "derived model", derived_id))

    def drop_derived(self, derived_id: str) -> None:
        """Remove the record of a derived model."""
        with self._session() as session:
            session.execute(delete(DerivedRow).where(DerivedRow.id == derived_id))


def _packed(chosen: Chosen) -> dict[str, Any]:
    return {**chosen._asdict(), "off": chosen.off.model_dump(mode="json", exclude_defaults=True)}


def _unpacked(data: dict[str, Any]) -> Chosen:
    return Chosen(Off.model_validate(data["off"]), data["method"], data["provenance"])


def _new_row(request: UseRequest, run: Run) -> DerivedRow:
    """Return the row of a request, queued. Units that it names are chosen already."""
    identifier, method, chosen = new_id(), None, None
    if isinstance(request, UnitsRequest):
        method = request.method or run.methods[0]
        chosen = None if request.units is None else Chosen(request.units, request.method)
    elif isinstance(request, DerivedRequest):
        method = request.method
        chosen = None if request.off is None else Chosen(request.off, request.method)
    pruned = request if isinstance(request, DerivedRequest) else None
    return DerivedRow(
        id=identifier,
        use=request.use,
        name=request.name or f"{request.use}-{identifier[:6]}",
        run=run.id,
        parent=run.model,
        task=run.task,
        share=None if pruned is None else pruned.share,
        method=method,
        repair=pruned is not None and bool(pruned.repair),
        request=request.model_dump(mode="json", exclude={"off", "units"}, exclude_none=True),
        chosen=None if chosen is None else _packed(chosen),
        status=Status.QUEUED,
        created=now(),
    )


def _derived(row: DerivedRow) -> Derived:
    counts = _unpacked(row.chosen).off.deactivation().counts() if row.chosen else {}
    request, use = row.request or {}, cast(Use, row.use)
    return Derived(
        id=row.id,
        use=use,
        name=row.name,
        model=None if row.use in REPORTS else DERIVED + row.name,
        run=row.run,
        parent=row.parent,
        task=row.task,
        share=row.share,
        milliseconds=request.get("milliseconds"),
        most=request.get("most"),
        method=row.method,
        repair=request.get("repair", row.repair),
        scheme=request.get("scheme"),
        settings=request.get("settings"),
        off={kind: count for kind, count in counts.items() if count},
        status=Status(row.status),
        step=row.step,
        progress=Progress(done=row.done, total=row.total, eta_s=row.eta_s),
        recommendation=Recommendation.model_validate(row.recommendation) if row.recommendation else None,
        error=row.error,
        worker=row.worker,
        owner=row.owner,
        created=row.created,
        started=row.started,
        finished=row.finished,
        **({OUTCOME_FIELDS[use]: OUTCOMES[use].model_validate(row.info)} if row.info else {}),
    )
