"""All settings of the servers, typed, from MODELSHAPLEY_* variables; nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelshapley.contracts import Dtype
from modelshapley.contracts.keys import MAX_PER_MINUTE, MAX_QUEUED
from modelshapley.errors import ModelShapleyError
from modelshapley.server.addresses import refuse_open_host
from modelshapley.server.logs import LogFormat
from modelshapley.tasks.uploaded.limits import DataLimits


class Settings(BaseSettings):
    """Settings of web server and workers. A test keeps docs/settings.md equal to this class."""

    model_config = SettingsConfigDict(env_prefix="MODELSHAPLEY_", env_ignore_empty=True)

    data: Path = Field(default=Path(".data"), description="directory for the database, maps, models and Redis")
    host: str = Field(default="127.0.0.1", description="address the web server listens on")
    port: int = Field(default=8050, ge=0, le=65535, description="port the web server listens on; 0 takes a free one")
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path that a reverse proxy serves everything under, without a slash at its end",
    )
    api_key: SecretStr | None = Field(
        default=None, description="asked of every request when set; needed on any address but loopback"
    )
    requests_per_minute: int = Field(
        default=1200, ge=1, le=MAX_PER_MINUTE, description="of each named key that has no limit of its own"
    )
    max_queued: int = Field(
        default=100,
        ge=1,
        le=MAX_QUEUED,
        description="open runs, checks and trials of each named key that has no limit of its own",
    )
    audit_kept_days: float = Field(
        default=365.0, gt=0, le=36500, description="how long the log of who changed what is kept"
    )
    frame_ancestors: str = Field(
        default="'none'",
        pattern=r"^[^;,\x00-\x1f]+$",
        description="who may show the dashboard in a frame: sources of the Content-Security-Policy",
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="queue and events; `up` starts one if it is not set",
    )
    database_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL of the records; default: SQLite in the data directory"
    )
    storage_url: str | None = Field(
        default=None, description="fsspec URL for maps and checkpoints; default: the data directory"
    )
    model_roots: list[Path] = Field(
        default_factory=list,
        description="folders whose subfolders are `local:` models; default: models in the data directory",
    )
    hub: bool = Field(
        default=True, description="whether models of the Hugging Face hub may be named: `hub:OWNER/NAME@REVISION`"
    )
    dataset_roots: list[Path] = Field(
        default_factory=list,
        description="folders that the data of added tasks are read from; default: datasets in the data directory",
    )
    max_body_bytes: int = Field(default=8 * 2**20, ge=1024, description="largest request body")
    log: LogFormat = Field(default="text", description="form of the logs: lines of text, or a JSON object a line")
    device: str = Field(
        default="auto",
        description="torch device of a worker; auto takes the first CUDA device, else the CPU; spread lays each "
        "model over all CUDA devices",
    )
    dtype: Dtype = Field(default="float32", description="of weights and activations")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of a worker; default: torch's own choice")
    model_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="memory of each worker's device for the models it keeps loaded; default: half of it. The "
        "one in use is always kept",
    )
    trial_memory_bytes: int = Field(
        default=2 * 2**30,
        ge=0,
        description="host memory of each worker for hidden states, from which trials start at the first touched "
        "layer; 0 keeps none",
    )
    lost_after_seconds: int = Field(
        default=20,
        ge=8,
        le=3600,
        description="time without a heartbeat after which a worker counts as lost, and another takes its job; "
        "longer where Redis is slow to reach",
    )
    checkpoint_seconds: float = Field(
        default=10.0, gt=0, le=30, description="time between checkpoints of a run or shard, at most 30"
    )

    max_upload_bytes: int = Field(default=64 * 2**30, ge=1, description="of the files of one uploaded model")
    max_data_bytes: int = Field(
        default=2**30, ge=1, description="of uploaded data for tasks, as files and after unpacking"
    )
    max_data_rows: int = Field(default=1_000_000, ge=1, description="rows or pictures of uploaded data for tasks")
    upload_kept_hours: float = Field(
        default=24.0, gt=0, le=24 * 365, description="how long an upload is kept that nothing is added to"
    )
    runs_kept_days: float | None = Field(
        default=None, gt=0, le=36500, description="age at which runs that have ended are deleted; default: never"
    )
    trials_kept_days: float | None = Field(
        default=None, gt=0, le=36500, description="age at which trials that have ended are removed; default: never"
    )
    models_kept_days: float | None = Field(
        default=None,
        gt=0,
        le=36500,
        description="time after which uploaded models that no kept run uses are removed; default: never",
    )
    deleted_kept_hours: float = Field(
        default=24.0, gt=0, le=24 * 365, description="how long a deleted run can be brought back before it is gone"
    )

    @model_validator(mode="after")
    def _key_off_loopback(self) -> Self:
        key = self.api_key.get_secret_value() if self.api_key else None
        if key is not None and not key.strip():
            raise ValueError("MODELSHAPLEY_API_KEY is blank: set it to a secret, or leave it out")
        try:
            refuse_open_host(self.host, key)
        except ModelShapleyError as error:
            raise ValueError(str(error)) from None
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings. Raises ModelShapleyError, in a sentence for each wrong one."""
        try:
            return cls()
        except ValidationError as error:
            problems = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
            raise ModelShapleyError(
                " ".join(f"MODELSHAPLEY_{name.upper()}: {message}." if name else message for name, message in problems)
            ) from None

    @property
    def records_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data / 'records.sqlite').resolve()}"

    @property
    def dataset_folders(self) -> list[Path]:
        return self.dataset_roots or [self.data / "datasets"]

    @property
    def data_limits(self) -> DataLimits:
        return DataLimits(self.max_data_bytes, self.max_data_rows)

    @property
    def maps_url(self) -> str:
        return self.storage_url or str(self.data.resolve())
