"""The Ray that this process stands on: a local one of its own, or one that it attaches to.

Owns `ray.init` and `ray.shutdown`, and keeps them quiet: nothing on the caller's stdout or stderr, no usage report, the
caller's signal handlers untouched.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shoal.errors import RayUnavailableError
from shoal.executors.ray.folders import own_folder
from shoal.executors.ray.library import load_ray
from shoal.model.masking import without_secrets

NAMESPACE: Final = "shoal"

_TEMP: Final = Path("/tmp")  # noqa: S108 - folders in it are made by mkdtemp
_PREFIX: Final = "shoal-ray-"

_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # What a tool started dies with the worker, also when Ray or the kernel kills it.
    "RAY_process_group_cleanup_enabled": "1",
    # Ray tells every driver, on its stdout, of each worker that died; such an end is an attempt's completion here.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}


@dataclass(frozen=True, slots=True)
class RayConnection:
    """A connection of this process to Ray.

    Attributes:
        address: Of the cluster's GCS, `host:port`.
        started: Whether the Ray was started by, and ends with, this connection.
        attached: Whether this connection made the process a driver; if not, the process was one before and stays one.
        folder: Temporary folder of a Ray that was started.
    """

    address: str
    started: bool
    attached: bool
    folder: Path | None = None

    def close(self) -> None:
        """Leave Ray; stop it if this connection started it. Idempotent."""
        ray = load_ray()

        if self.attached and ray.is_initialized():
            with _kept_handlers():
                ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def connect(address: str | None = None, *, num_cpus: float | None = None) -> RayConnection:
    """Make this process a driver of a Ray cluster.

    If the process is one already, that connection is used and left open by `close`. A local Ray lives as long as the thread
    that starts it, so it is started in the main thread only; starting takes 7 to 13 s.

    Args:
        address: `host:port` or `auto` of a cluster; None: start a local Ray.
        num_cpus: CPUs of a local Ray; None: the machine's.

    Raises:
        RayUnavailableError: It could not be started or reached.
    """
    with _settings(_SETTINGS):
        ray = load_ray()

        if ray.is_initialized():
            return RayConnection(ray.get_runtime_context().gcs_address, started=False, attached=False)
        if address is None:
            return _start(num_cpus)
        _knock(address)
        _use_token()
        try:
            _init(address=address)
        except Exception as error:
            raise RayUnavailableError(
                f"no Ray cluster answers at {address}: {_first_line(error)}",
                hint="check SHOAL_RAY_ADDRESS, or unset it to use a local Ray",
            ) from error
        return RayConnection(ray.get_runtime_context().gcs_address, started=False, attached=True)


def hosts() -> frozenset[str]:
    """Return the names of the hosts that the cluster's live nodes run on; this process must be a driver."""
    return frozenset(str(node["NodeManagerHostname"]) for node in load_ray().nodes() if node["Alive"])


def _start(num_cpus: float | None) -> RayConnection:
    ray = load_ray()

    if threading.current_thread() is not threading.main_thread():
        raise RayUnavailableError("a local Ray can be started in the main thread only: it ends with the thread that started it")
    # The path of its sockets may have 107 bytes at most, so it does not go where a long TMPDIR points.
    folder = own_folder(_PREFIX, _TEMP)
    try:
        _init(
            address="local",
            num_cpus=num_cpus or os.cpu_count(),
            include_dashboard=False,
            _temp_dir=str(folder),
        )
        folder.chmod(0o700)  # Ray opens it to everybody
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RayUnavailableError(
            f"a local Ray could not be started: {_first_line(error)}",
            hint="`shoal doctor` looks for the cause; `--executor inline` needs no Ray",
        ) from error
    return RayConnection(ray.get_runtime_context().gcs_address, started=True, attached=True, folder=folder)


def _init(**options: Any) -> None:
    ray = load_ray()

    with _kept_handlers(), _hidden_secrets():
        ray.init(namespace=NAMESPACE, log_to_driver=False, configure_logging=True, logging_level=logging.ERROR, **options)


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for 20 s and writes to stderr all the while."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return  # `auto` and the like: only Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise RayUnavailableError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            hint="check SHOAL_RAY_ADDRESS, or unset it to use a local Ray",
        ) from error


def _use_token() -> None:
    """Present the user's Ray token, if there is one: a local Ray asks for it, and a driver by itself does not present it."""
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    logger = logging.getLogger("ray._private.authentication.authentication_token_setup")
    logger.disabled = True
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextmanager
def _settings(settings: Mapping[str, str]) -> Generator[None, None, None]:
    """Set variables that are not set, for Ray's own processes, and take them back."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _hidden_secrets() -> Generator[None, None, None]:
    """Keep secrets out of the environment of Ray's processes, which every worker of a local Ray inherits."""
    kept = dict(os.environ)
    hidden = kept.keys() - without_secrets(kept).keys()
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update({name: kept[name] for name in hidden})


@contextmanager
def _kept_handlers() -> Generator[None, None, None]:
    """Keep signal handlers as they are."""
    main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
