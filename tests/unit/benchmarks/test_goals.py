import dataclasses

import pytest
from benchmarks.goals import Goal, compare, load_goals, score
from benchmarks.rows import PEERS, ROWS

GOAL = Goal("g", "group", "row", "what", "row.a", "ours/theirs", "at most", "ms", theirs="row.b", limit=0.75)


def held(goal, ours, theirs=()):
    return compare(goal, {"row.a": ours, "row.b": theirs})


def test_the_goals_are_those_of_rows_that_there_are():
    goals = load_goals()
    assert {goal.row for goal in goals} == {row.name for row in (*ROWS, PEERS)}
    assert len({goal.id for goal in goals}) == len(goals)
    for goal in goals:
        assert goal.ours.startswith(f"{goal.row}.")
        assert (goal.formula == "ours") == (not goal.theirs)
        assert goal.bound == "none" or goal.limit > 0


@pytest.mark.parametrize(
    ("bound", "ours", "verdict", "told"),
    [
        ("at most", [1.5, 1.4, 9.0], "met", "met by 0%"),
        ("at most", [3.0, 3.0], "missed", "missed by 100%"),
        ("at least", [3.0, 3.0], "met", "met by 100%"),
        ("at least", [0.75], "missed", "missed by 50%"),
    ],
)
def test_the_median_decides_and_says_by_how_much(bound, ours, verdict, told):
    comparison = held(dataclasses.replace(GOAL, bound=bound), ours, [2.0] * 3)
    assert (comparison.verdict, comparison.told) == (verdict, told)


def test_what_has_no_goal_is_for_information():
    comparison = held(dataclasses.replace(GOAL, bound="none", limit=0), [1.0], [2.0])
    assert comparison.verdict == comparison.told == "for information"
    assert comparison.value.median == 0.5
    assert comparison.goal.wanted == "-"


def test_what_is_not_there_is_not_measured_and_says_why():
    comparison = compare(GOAL, {"row.a": [1.0]}, "no npm")
    assert comparison.told == "not measured: no npm"
    assert comparison.ours.median == 1.0
    assert compare(GOAL, {}).told == "not measured: not asked for"


def test_the_spread_is_that_of_the_pairs():
    value = held(GOAL, [1.0, 2.0, 3.0], [1.0, 1.0, 2.0]).value
    assert (value.median, value.low, value.high) == (1.5, 1.0, 2.0)


def test_the_score_is_one_at_the_goal_and_grows_as_it_gets_better():
    least = dataclasses.replace(GOAL, bound="at least")
    assert score(GOAL, 0.75) == score(least, 0.75) == 1
    assert score(GOAL, 1.5) == 0.5
    assert score(least, 1.5) == 2
    assert score(GOAL, 0.0) == score(GOAL, -3.0) == 10, "less than nothing is very good, not an error"
