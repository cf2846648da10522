import xml.etree.ElementTree as ET

import pytest
from benchmarks import chart, page, table
from benchmarks.goals import Goal, compare

GOOD = Goal(
    "a", "group <1>", "row", "a `step`", "row.a", "ours/theirs", "at most", "ms", theirs="row.b", against="x | y", limit=2
)
BAD = Goal("b", "group <1>", "row", "runs", "row.a", "ours", "at least", "runs/s", limit=50, result="runs/s")
TOLD = Goal("c", "other", "row", "seen", "row.a", "ours", "none", "s", result="s")
LOST = Goal("d", "other", "gone", "lost & gone", "gone.a", "ours", "at most", "s", limit=1, result="s")


@pytest.fixture
def comparisons():
    figures = {"row.a": [1.0, 3.0, 2.0], "row.b": [2.0, 2.0, 2.0]}
    return [compare(goal, figures, "it broke" if goal is LOST else "") for goal in (GOOD, BAD, TOLD, LOST)]


def test_the_text_has_a_heading_for_each_group_and_a_verdict_for_each_line(comparisons):
    text = table.text(comparisons)
    assert text.count("group <1>") == 1
    assert "1 (0.5 to 1.5), goal at most 2 times: met by 50%" in text
    assert "missed by 96%" in text
    assert "2 (1 to 3), goal -: for information" in text
    assert "not measured: it broke" in text


def test_the_page_has_a_line_for_each_goal_with_as_many_cells(comparisons):
    lines = table.markdown(comparisons).splitlines()
    assert len(lines) == 2 + len(comparisons)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "**met** by 50%" in lines[2]


def test_the_chart_is_well_formed_and_draws_only_what_has_a_goal(comparisons):
    root = ET.fromstring(chart.svg(comparisons, "caption & more"))  # noqa: S314 - our own text
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("rx")]
    assert len(bars) == 2, "met and missed; the one for information is left out, the lost one has no bar"
    good, bad = (float(bar.get("width")) for bar in bars)
    assert good > bad
    texts = "".join(root.itertext())
    assert "not measured" in texts
    assert "seen" not in texts
    assert "caption & more" in texts


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1,234"), (0.12345, "0.123"), (12.345, "12.3"), (-2000.0, "-2,000"), (0, "0")]
)
def test_numbers_have_three_digits_that_count(value, shown):
    assert table.number(value) == shown


def test_the_summary_counts(comparisons):
    assert table.summary(comparisons) == "1 met, 1 missed, 1 not measured"


def test_only_the_generated_part_of_the_page_is_replaced():
    old = f"# Head\n\n{page.BEGIN}\nold\n{page.END}\n\ntail\n"
    new = page.replaced(old, "new\n")
    assert new == f"# Head\n\n{page.BEGIN}\n\nnew\n\n{page.END}\n\ntail\n"
    assert page.replaced(new, "new") == new


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="markers"):
        page.replaced("# Head\n", "new")


def test_the_page_of_the_project_has_its_markers():
    assert page.replaced(page.PAGE.read_text(), "new")
