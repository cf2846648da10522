"""The live tree and the plain lines, at fixed sizes and times."""

import io
import re
from datetime import timedelta

import pytest
from cli_world import RUN, START, View, run, step, views, workflow
from rich.console import Console

from shoal.cli.lines import PlainLines
from shoal.cli.rows import rows_of, select
from shoal.cli.terminal import ASCII, UNICODE
from shoal.cli.tree import LiveTree, render
from shoal.errors import StepFailedError
from shoal.model.ids import StepPath
from shoal.model.run import ItemCounts, Progress

NOW = START + timedelta(seconds=64)


def drawn(view, *, width=80, height=24, glyphs=UNICODE, now=NOW):
    console = Console(file=io.StringIO(), width=width, color_system=None, emoji=False, markup=False, highlight=False)
    console.print(render(view, now, width, height, glyphs))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_run_at_its_beginning_half_way_and_at_its_end():
    beginning, half, end = views()
    assert drawn(beginning) == [
        f"weekly-report  {RUN}  running  1m04s",
        "▸ environment measure-tool  running           ━━━━━───────────────  downloading",
        "▸ fetch                     running    1m04s",
        "· measure                   pending",
        "· report                    pending",
    ]
    assert drawn(half) == [
        f"weekly-report  {RUN}  running  1m04s",
        "✓ fetch    succeeded   1.5s",
        "▸ measure  running    1m04s  ━───────────────────  120/2000  2 failed",
        "· report   pending",
    ]
    assert drawn(end) == [
        f"weekly-report  {RUN}  succeeded  1m04s",
        "✓ fetch    succeeded   1.5s",
        "✓ measure  succeeded   1.5s  2000/2000  2 failed",
        "✓ report   succeeded   2.0s",
    ]


def test_attempts_retries_waits_errors_and_skips_are_told():
    error = StepFailedError("ValueError: \x1b[31mno\x1b[0m lines\nand more", step="parse")
    view = View(
        run("running"),
        workflow(),
        (
            step("flaky", "pending", attempts=2, started_at=START, wake_at=NOW + timedelta(seconds=3)),
            step("third", "running", attempts=3, progress=Progress(3, 4, "pages")),
            step("approve", "waiting", wake_at=NOW + timedelta(hours=1)),
            step("parse", "failed", error=error),
            step("later", "skipped", skip_reason="not_reached"),
            step("maybe", "skipped", skip_reason="condition"),
        ),
    )
    assert drawn(view)[1:] == [
        "◷ flaky    retrying   1m04s  attempt 3  in 3.0s",
        "▸ third    running    1m04s  ━━━━━━━━━━━━━━━─────  attempt 3  3/4  pages",
        "◷ approve  waiting    1m04s  1h00m left",
        "✗ parse    failed      1.5s",
        "  ╰ ValueError: no lines",
        "⊘ later    skipped           not reached",
        "⊘ maybe    skipped           its condition is false",
    ]


def test_spawned_steps_are_summed_up_under_their_owner():
    below = [
        step("a", "succeeded", path="plan/0", scope=StepPath("plan")),
        step("b", "running", path="plan/1", scope=StepPath("plan/0")),
        step("b", "running", path="plan/2", scope=StepPath("plan/0")),
    ]
    view = View(run("running"), workflow(), (step("plan", "running", spawned=40), step("end", "pending"), *below))
    assert drawn(view)[1:] == [
        "▸ plan          running    1m04s",
        "  ▸ 40 spawned  running           1 succeeded, 2 running",
        "· end           pending",
    ]


@pytest.mark.parametrize("height", [6, 10, 24])
def test_a_long_run_keeps_to_the_screen_with_what_fails_and_runs_in_sight(height):
    steps = [step(f"step-{i}") for i in range(200)] + [step(f"todo-{i}", "pending") for i in range(50)]
    steps[3] = step("step-3", "failed", error=StepFailedError("no"))
    steps[150] = step("step-150", "running")
    lines = drawn(View(run("running"), workflow(), tuple(steps)), height=height)
    assert len(lines) <= height
    text = "\n".join(lines)
    assert all(words in text for words in ("step-3 ", "╰ no", "step-150"))
    assert re.search(r"… \d+ more done, \d+ more to do", lines[-1])


def test_what_is_hidden_and_what_is_shown_are_all_there_is():
    rows = rows_of(View(run("running"), workflow(), tuple(step(f"s{i}") for i in range(30))), NOW)
    shown, hidden = select(rows, 10)
    assert len(shown) == 9
    assert hidden == "21 more done"
    assert shown[-1].name == "s29"
    assert select(rows, 30) == (rows, "")


@pytest.mark.parametrize("width", [20, 40, 59, 80, 200])
@pytest.mark.parametrize("glyphs", [ASCII, UNICODE])
def test_no_line_is_wider_than_the_terminal(width, glyphs):
    error = StepFailedError("x" * 300)
    steps = (
        step("名前" * 20, "running", items=ItemCounts(10_000, 500, 300)),
        step("y" * 100, "failed", error=error),
    )
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for line in render(View(run("running"), workflow(), steps), NOW, width, 24, glyphs).renderables:
        assert console.measure(line).maximum <= width
    if glyphs is ASCII:
        lines = drawn(View(run("running"), workflow(), steps[1:]), width=width, glyphs=glyphs)
        assert all(line.isascii() for line in lines)


def test_the_live_tree_leaves_the_last_view_on_the_screen_and_shows_the_cursor_again():
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True, color_system=None)
    with LiveTree(console, now=lambda: NOW) as tree:
        for view in views():
            tree.update(view)
    text = stream.getvalue()
    assert "+ report   succeeded   2.0s" in text
    assert text.rindex("\x1b[?25h") > text.rindex("succeeded   2.0s")


def test_before_there_is_a_view_the_tree_says_that_the_run_starts_and_leaves_no_trace():
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True, color_system=None)
    with LiveTree(console, now=lambda: NOW):
        assert "starting... 0.0s" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K")


def test_the_live_tree_draws_at_most_eight_times_a_second():
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True, color_system=None)
    drawn_times = 0
    with LiveTree(console, now=lambda: NOW) as tree:
        update = tree._live.update

        def counted(*args, **keys):
            nonlocal drawn_times
            drawn_times += 1
            update(*args, **keys)

        tree._live.update = counted
        for _ in range(500):
            tree.update(views()[1])
    assert drawn_times <= 8


# ---------------------------------------------------------------- plain lines


class Lines:
    def __init__(self):
        self.lines = []
        self.now = NOW
        self.seconds = 0.0
        self.plain = PlainLines(self.lines.append, lambda: self.now, lambda: self.seconds)

    def update(self, view):
        before = len(self.lines)
        self.plain.update(view)
        return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in self.lines[before:]]


def test_every_change_is_a_line_and_no_change_is_none():
    lines = Lines()
    beginning, half, end = views()
    assert lines.update(beginning) == [
        f"run {RUN} of weekly-report running",
        "environment of measure-tool 1/4 downloading",
        "step fetch running",
    ]
    assert lines.update(beginning) == []
    assert lines.update(half) == ["step fetch succeeded (1.5s)", "step measure running", "step measure 120/2000 2 failed"]
    assert lines.update(end) == [
        "step measure succeeded (1.5s)",
        "step report succeeded (2.0s)",
        f"run {RUN} succeeded (1m04s)",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines.lines)


def test_progress_is_a_line_at_most_every_five_seconds():
    lines = Lines()
    said = []
    for second in range(21):
        lines.seconds = float(second)
        view = View(run("running"), workflow(), (step("measure", "running", items=ItemCounts(2000, 10 * second)),))
        said += [line for line in lines.update(view) if "/2000" in line]
    assert said == [f"step measure {n}/2000" for n in (0, 50, 100, 150, 200)]


def test_a_retry_tells_the_attempt_the_delay_and_the_error():
    lines = Lines()
    error = StepFailedError("ValueError: no\nlines")
    waiting = step("flaky", "pending", attempts=2, error=error, started_at=START, wake_at=NOW + timedelta(seconds=2))
    assert lines.update(View(run("running"), workflow(), (waiting,)))[1:] == [
        "step flaky retrying attempt 2 in 2.0s: ValueError: no"
    ]
