"""What a child process is told: which tool, with which inputs.

Owns the form of the request that `driver` reads. Values are JSON in it or files that it names; a pickle is refused, since a
clean child holds none of the classes that it may need.
"""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any, cast

from shoal.errors import NonRetryableError
from shoal.executors.attempt import where
from shoal.model.attempts import AttemptCall
from shoal.model.encoding import json_bytes, value_from_json
from shoal.model.ids import Digest
from shoal.model.policies import Isolation
from shoal.model.values import Hole, SecretName, SecretText, Value
from shoal.ports import BlobStore, ToolInvoker


def is_clean(call: AttemptCall) -> bool:
    """Whether a call runs in a child that holds nothing of Shoal; a built-in tool is a part of it."""
    return call.isolation is Isolation.PROCESS and call.tool.load != "builtin"


def hosted_request(call: AttemptCall, invoker: ToolInvoker) -> bytes:
    """Return the request for a child that imports Shoal."""
    data = base64.b64encode(pickle.dumps((invoker, call), protocol=5)).decode()
    return _line({"kind": "hosted", "call": data})


def clean_request(call: AttemptCall, blobs: BlobStore, folder: Path) -> bytes:
    """Return the request for a clean child.

    Args:
        call: The call.
        blobs: Where large values are.
        folder: For those that no local file holds.

    Raises:
        NonRetryableError: An input is a Python object.
        NotFoundError: A blob is gone.
    """
    files = _Files(call, blobs, folder)
    tree = json.loads(json_bytes(call.arguments.tree))
    holes = [[list(path), files.hole(path, hole)] for path, hole in call.arguments.holes]
    return _line(
        {
            "kind": "clean",
            "run_id": call.run_id,
            "step": call.path,
            "attempt": call.number,
            "context": call.context,
            "timeout": call.timeout.total_seconds() if call.timeout else None,
            "load": call.tool.load,
            "target": call.tool.target,
            "version": call.tool.distribution[1] if call.tool.distribution else None,
            "modules": files.path(call.tool.modules) if call.tool.modules else None,
            "inputs": tree,
            "holes": holes,
            "outputs": list(call.outputs),
        }
    )


class _Files:
    """Values as the driver reads them."""

    def __init__(self, call: AttemptCall, blobs: BlobStore, folder: Path) -> None:
        self._call = call
        self._blobs = blobs
        self._folder = folder

    def hole(self, path: tuple[str | int, ...], hole: Hole) -> dict[str, Any]:
        match hole:
            case Value():
                return self._value(".".join(map(str, path)), hole)
            case SecretText(parts):
                text = "".join(self._call.secrets[p.name] if isinstance(p, SecretName) else p for p in parts)
                return {"json": text}

    def _value(self, name: str, value: Value) -> dict[str, Any]:
        if value.codec == "pickle":
            raise NonRetryableError(
                f"{where(self._call)}: the input {name} is a Python object ({value.type_name}), and a step with "
                "isolation: process takes JSON only",
                hint="let the step before it return plain data, or use isolation: task",
            )
        if value.codec == "manifest":
            data = value.data if value.data is not None else self._blobs.get(cast("Digest", value.digest))
            return {"list": [self._value(f"{name}[{i}]", value_from_json(v)) for i, v in enumerate(json.loads(data))]}
        if value.data is not None:
            return {"json": json.loads(value.data)}
        return {"file": self.path(cast("Digest", value.digest))}

    def path(self, digest: Digest) -> str:
        local = self._blobs.path(digest)
        if local is None:
            file = self._folder / digest
            file.write_bytes(self._blobs.get(digest))
            local = str(file)
        return local


def _line(request: dict[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"
