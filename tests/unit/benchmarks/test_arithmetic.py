import pytest
from benchmarks.arithmetic import Spread, paired, spread


def test_a_spread_is_the_median_and_the_extremes_of_what_is_there():
    assert spread([3.0, None, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert spread([4.0, 1.0]) == Spread(2.5, 1.0, 4.0, 2)
    assert spread([]) is None
    assert spread([None]) is None


@pytest.mark.parametrize(
    ("formula", "values"),
    [("ours/theirs", [0.5, 2.0]), ("theirs/ours", [2.0, 0.5]), ("ours-theirs", [-1.0, 2.0]), ("ours", [1.0, 4.0])],
)
def test_pairs_are_formed_within_a_round(formula, values):
    assert paired([1.0, 4.0], [2.0, 2.0], formula) == values


def test_a_round_that_lacks_a_side_makes_no_pair():
    assert paired([1.0, None, 6.0], [None, 2.0, 3.0], "ours/theirs") == [2.0]
    assert paired([1.0, 2.0], [4.0], "theirs/ours") == [4.0]


@pytest.mark.parametrize(("ours", "theirs", "formula"), [(1.0, 0.0, "ours/theirs"), (0.0, 1.0, "theirs/ours")])
def test_nothing_is_divided_by_zero(ours, theirs, formula):
    assert paired([ours], [theirs], formula) == []


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    ours, theirs = [1.0, 10.0, 100.0], [2.0, 5.0, 400.0]
    assert spread(paired(ours, theirs, "ours/theirs")).median == 0.5
