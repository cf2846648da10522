"""Settings: where things are and how they are reached.

Owns every look at `os.environ`. Read lazily, once for each `load_settings`; nothing is read at import.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shoal.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process.

    Attributes:
        home: Folder of journal, blobs, logs and environments (`SHOAL_HOME`).
        store: URL of the journal (`SHOAL_STORE`); `sqlite:///` and an absolute path.
        blobs: fsspec URL or folder of the blobs (`SHOAL_BLOBS`).
        ray_address: Cluster to attach to (`SHOAL_RAY_ADDRESS`); None: a local Ray.
        ray_cpus: CPUs of a local Ray (`SHOAL_RAY_CPUS`); None: the machine's.
        secrets_file: File of secrets (`SHOAL_SECRETS_FILE`), mode 0600.
        idle_minutes: After how long a daemon without work ends (`SHOAL_IDLE_MINUTES`).
        retain: How long ended runs are kept by a daemon (`SHOAL_RETAIN`, a duration such as `30d`); empty: for ever.
        log_level: Of Shoal's own log on stderr (`SHOAL_LOG_LEVEL`).
        fault: Crash point to arm; tests only (`SHOAL_FAULT`).
    """

    home: Path
    store: str
    blobs: str
    ray_address: str | None = None
    ray_cpus: float | None = None
    secrets_file: Path | None = None
    idle_minutes: float = 15.0
    retain: str = ""
    log_level: str = "warning"
    fault: str | None = None


def load_settings(**overrides: object) -> Settings:
    """Return the settings from `SHOAL_*` variables and, before them, keyword overrides of the same lower-case names.

    Raises:
        InvalidInputError: A variable does not have the form it should.
        UnsupportedError: The store is of a kind that this version does not have.
    """
    from pydantic import Field, ValidationError
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class _Environment(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="SHOAL_", extra="ignore", env_ignore_empty=True)

        home: Path | None = None
        store: str | None = None
        blobs: str | None = None
        ray_address: str | None = None
        ray_cpus: float | None = Field(default=None, gt=0)
        secrets_file: Path | None = None
        idle_minutes: float = Field(default=15.0, gt=0)
        retain: str = ""
        log_level: Literal["debug", "info", "warning", "error", "critical"] = "warning"
        fault: str | None = None

    try:
        found = _Environment.model_validate(_Environment(**{k: v for k, v in overrides.items() if v is not None}))  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        lines = [f"SHOAL_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise InvalidInputError("; ".join(lines), hint="see `shoal doctor`") from error
    home = (found.home or _default_home()).expanduser().absolute()
    store = found.store or f"sqlite:///{home / 'journal.db'}"
    scheme = store.partition(":")[0]
    if scheme.startswith("postgres"):
        raise UnsupportedError("SHOAL_STORE: PostgreSQL is not in this version; it is what several nodes with replicas need")
    if scheme != "sqlite":
        raise InvalidInputError(f"SHOAL_STORE: {scheme!r} is not a store; use sqlite:////absolute/path/journal.db")
    return Settings(
        home=home,
        store=store,
        blobs=found.blobs or str(home / "blobs"),
        ray_address=found.ray_address,
        ray_cpus=found.ray_cpus,
        secrets_file=found.secrets_file.expanduser().absolute() if found.secrets_file is not None else None,
        idle_minutes=found.idle_minutes,
        retain=found.retain,
        log_level=found.log_level,
        fault=found.fault,
    )


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("shoal", appauthor=False)


def environment() -> Mapping[str, str]:
    """Return a copy of the process's environment, for adapters that hand parts of it on."""
    return dict(os.environ)
