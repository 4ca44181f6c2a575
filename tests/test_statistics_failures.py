"""What went wrong is said, and nothing where nothing did."""

import pytest

from tests.test_retraining_results import row
from utils.retraining.results import results_table
from utils.statistics.failures import failures_in_words, overfitted

GOOD = {"val_accuracy_one_step": 0.5, "val_accuracy_fresh": 0.4}


def table(*points, configuration=4):
    """Point 0, then points with these columns."""
    rows = [row(0, configuration=configuration, **GOOD)]
    rows += [row(p, configuration=configuration, **GOOD | more) for p, more in enumerate(points, 1)]
    return results_table(rows)


def test_where_nothing_went_wrong_nothing_is_said():
    assert failures_in_words(table({}, {})) == ""


def test_points_without_numbers_are_named():
    said = failures_in_words(table({}, {"problem": "training gave no numbers any more in epoch 3"}))
    assert said.startswith("**1 of 2 retrained points gave no usable network:** training gave no")
    assert "(digits, configuration 4, Distance-based surprise adequacy, seed 0, point 2)" in said


@pytest.mark.parametrize(
    ("one_step", "several", "alarming"),
    [
        (0.9, 0.05, True),
        (0.9, 0.5, False),  # more than half is left
        (0.3, 0.1, False),  # little was won, but not by one step alone
        (0.6, 0.29, True),  # a gap of 0.31, that of the original model is 0.1
        (0.55, 0.27, False),  # of 0.28
    ],
)
def test_catastrophic_overfitting(one_step, several, alarming):
    point = {"val_accuracy_one_step": one_step, "val_accuracy_fresh": several}
    found = table({}, point)
    assert overfitted(found)["point"].tolist() == [2] * alarming
    said = failures_in_words(found)
    assert bool(said) == alarming
    if alarming:
        assert "1 of 2 retrained points of configuration 4 withstand one" in said
        assert f"(at worst {one_step:.3f} against {several:.3f}" in said
        assert "`inner_steps=2`" in said


def test_networks_that_were_not_trained_against_one_step_are_none_of_its_victims():
    """Of an ordinary network one step leaves more than several, too."""
    point = {"val_accuracy_one_step": 0.9, "val_accuracy_fresh": 0.05}
    assert failures_in_words(table({}, point, configuration=2)) == ""
