"""Tiny pure-Python wheels for tests, made without any build tool, so that environments are built for real and offline."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

LEGACY_TOOL = """
import ray


@ray.remote
def main(answer):
    import json

    return {"result": json.loads(answer)["answer"] if isinstance(answer, str) else answer}
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    requires: Sequence[str] = (),
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """Write a wheel into a find-links folder and return its path.

    `files` are paths in site-packages and their content; `entry_points` are `{group: {name: "module:function"}}`.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", *(f"Requires-Dist: {r}\n" for r in requires)]
    members: dict[str, str | bytes] = dict(files)
    members[f"{info}/METADATA"] = "".join(metadata)
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        members[f"{info}/entry_points.txt"] = "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in entry_points.items()
        )
    record = ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{member},sha256={digest},{len(data)}\n"
            wheel.writestr(zipfile.ZipInfo(member), data)
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), record + f"{info}/RECORD,,\n")
    return path


def tool_wheel(folder: Path, name: str, version: str, code: str, *, requires: Sequence[str] = ()) -> Path:
    """Write the wheel of a tool: a module named like it, whose `main` is its entry point."""
    module = name.replace("-", "_")
    return make_wheel(
        folder,
        name,
        version,
        {f"{module}/__init__.py": "", f"{module}/tool.py": code},
        requires=requires,
        entry_points={"tool.entrypoint": {module: f"{module}.tool:main"}},
    )


def legacy_tool_wheel(folder: Path) -> Path:
    """Write `return-answer-tool` 0.1.2, as tools were packaged for ray.workflow: a `@ray.remote` function behind an entry point."""
    return tool_wheel(folder, "return-answer-tool", "0.1.2", LEGACY_TOOL)
