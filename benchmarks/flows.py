"""The measured workflows, as text of the language. Owns their forms; their tools are in `tools/noop.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).with_name("tools") / "noop.py"


def chain(n: int) -> str:
    """Return `n` steps of which each takes what the one before returned."""
    lines = ["id: chain", "steps:", "- {name: s0, tool: 'noop:noop', inputs: {x: 1}}"]
    lines += [
        f"- {{name: s{i}, tool: 'noop:noop', inputs: {{x: '{{{{ steps.s{i - 1}.outputs.result }}}}'}}}}" for i in range(1, n)
    ]
    return "\n".join(lines) + "\n"


def wide(n: int) -> str:
    """Return `n` steps that wait for nothing; as short as they can be written, since a file has at most 1 MiB."""
    lines = ["id: wide", "steps:"]
    lines += [f"- {{name: s{i}, tool: 'noop:noop', needs: [], inputs: {{x: {i}}}}}" for i in range(n)]
    return "\n".join(lines) + "\n"


def wide_bare(n: int) -> str:
    """Return `n` steps that wait for nothing and take nothing: 20,000 of them fit into one file."""
    lines = ["id: wide-bare", "steps:"]
    lines += [f"- {{name: s{i}, tool: 'noop:noop', needs: []}}" for i in range(n)]
    return "\n".join(lines) + "\n"


def loop(n: int, concurrency: int | None = None) -> str:
    """Return one `foreach` over `n` numbers, whose values are the output of the run."""
    limit = f", concurrency: {concurrency}" if concurrency is not None else ""
    return (
        f"id: loop\ninputs: {{items: {{type: array, default: [{', '.join(map(str, range(n)))}]}}}}\nsteps:\n"
        f"- {{name: l, foreach: inputs.items, tool: 'noop:noop', inputs: {{x: '{{{{ item }}}}'}}{limit}}}\n"
        "outputs: {values: '{{ steps.l.outputs.result }}'}\n"
    )


def loop_512(n: int) -> str:
    """Return the loop with 512 items under way at a time."""
    return loop(n, 512)


def one(n: int = 1) -> str:
    """Return a workflow of one step; `n` is what it returns."""
    return f"id: one\nsteps: [{{name: s, tool: 'noop:noop', inputs: {{x: {n}}}}}]\n"


def spawning(n: int) -> str:
    """Return one step that grows by a continuation at a time, to `n` steps."""
    return f"id: spawning\nsteps: [{{name: s, tool: 'noop:count_down', inputs: {{n: {n}}}}}]\n"


def requiring(requirement: str) -> str:
    """Return a workflow of one step that needs a package of its own."""
    return f"id: requiring\nsteps: [{{name: s, tool: 'noop:noop', inputs: {{x: 1}}, requirements: ['{requirement}']}}]\n"


def recorded_loop(n: int) -> str:
    """Return a loop of `n` items, a wait for the signal `go`, and the step `after`."""
    return loop_512(n).partition("outputs:")[0] + "- {name: gate, wait: {signal: go}}\n" + _AFTER


def recorded_wide(n: int) -> str:
    """Return `n` steps side by side, a wait for the signal `go`, and the step `after`."""
    # The gate waits for all of them: a step that is written without `needs` waits for the one before it only.
    names = ", ".join(f"s{i}" for i in range(n))
    return wide_bare(n) + f"- {{name: gate, needs: [{names}], wait: {{signal: go}}}}\n" + _AFTER


_AFTER: Final = "- {name: after, tool: 'noop:noop', inputs: {x: 1}}\n"

FORMS: Final[dict[str, Callable[[int], str]]] = {
    "chain": chain,
    "wide": wide,
    "wide-bare": wide_bare,
    "foreach": loop,
    "foreach-512": loop_512,
    "one": one,
    "continuations": spawning,
    "recorded-foreach": recorded_loop,
    "recorded-wide": recorded_wide,
}


def write(folder: Path, name: str, text: str) -> Path:
    """Write a workflow with its tools beside it; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOOLS, folder / "noop.py")
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file
