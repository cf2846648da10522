"""Puts a report together from what the other tools found, and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from report_writer._charts import draw_hotspots, draw_languages
from report_writer._figures import Figures
from report_writer._files import replace_file
from report_writer._sections import write_sections

if TYPE_CHECKING:
    from shoal.tools import ToolContext


def write_report(
    root: str,
    out: str,
    lines: list[dict[str, Any] | None],
    complexity: list[dict[str, Any] | None],
    history: dict[str, Any] | None = None,
    title: str = "",
    context: ToolContext | None = None,
) -> dict[str, Any]:
    """Write `report.md` and its charts into a folder.

    Each file is replaced in one step, the report last: a reader finds the old report or the new one, never half of one.
    The same figures give the same bytes. A chart that has nothing to show is not written, and an old one is removed.

    Args:
        root: The folder that was looked at; its name is the default title.
        out: The folder to write to; made if it is not there. Below `root`, unless it is an absolute path.
        lines: What `line-counter` returned for each group of files; null for a group that could not be counted.
        complexity: What `complexity-meter` returned for each group of Python files; null likewise.
        history: What `git-hotspots` returned; null if it could not be had.
        title: Of the report.
        context: Given by Shoal; used to report progress.

    Returns:
        `report`: the absolute path of the report. `totals`: `{files, code_files, code, comment, blank, prose, languages,
        functions, most_complex}`, the last a function's complexity, name and place, or null.
    """
    figures = Figures.of(lines, complexity, history)
    folder = (Path(root) / Path(out).expanduser()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    charts: dict[str, str] = {}
    for done, (name, draw) in enumerate({"languages.svg": draw_languages, "hotspots.svg": draw_hotspots}.items(), 1):
        image = draw(figures)
        if image:
            replace_file(folder / name, image)
            charts[name] = image
        else:
            (folder / name).unlink(missing_ok=True)
        if context is not None:
            context.progress(done, 3)
    text = write_sections(figures, title or Path(root).name, charts=frozenset(charts))
    replace_file(folder / "report.md", text)
    if context is not None:
        context.progress(3, 3)
    print(f"wrote {folder / 'report.md'}")
    return {"report": str(folder / "report.md"), "totals": figures.totals()}
