"""The tools of this environment, listed without loading any of them."""

from __future__ import annotations

from importlib.metadata import entry_points

from shoal.cli.terminal import emit

BUILT_IN = {
    "shell": "run a script of the workflow in a shell",
    "http": "send an HTTP request",
    "python": "run Python code of the workflow",
}


def installed_tools() -> list[dict[str, str]]:
    """Return `{tool, version, source, target}` of every tool, the built-in ones first."""
    found = [{"tool": name, "version": "", "source": "built-in", "target": what} for name, what in BUILT_IN.items()]
    for entry in sorted(entry_points(group="tool.entrypoint"), key=lambda e: e.name):
        distribution = entry.dist
        found.append(
            {
                "tool": entry.name,
                "version": distribution.version if distribution else "",
                "source": distribution.name if distribution else "",
                "target": entry.value,
            }
        )
    return found


def print_tools(found: list[dict[str, str]]) -> None:
    """Print a line for each tool: its reference, where it is from, what it is."""
    references = [f"{t['tool']}@{t['version']}" if t["version"] else t["tool"] for t in found]
    width = max(len(reference) for reference in references)
    for reference, tool in zip(references, found, strict=True):
        emit(f"{reference:<{width}}  {tool['source']:<10}  {tool['target']}".rstrip())
