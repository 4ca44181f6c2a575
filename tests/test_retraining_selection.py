"""One rule for the chosen point, wherever it is asked for."""

import ast

import numpy as np
import pandas as pd
import pytest

from tests.test_retraining_results import row
from tests.test_templates import NOTEBOOKS, cells
from utils.retraining import selection
from utils.retraining.outcomes import credits, join, pack, squared_error
from utils.retraining.results import results_table
from utils.retraining.selection import RULE, choose, chosen_point, chosen_points, measured, near
from utils.retraining.store import Curve
from utils.statistics import recommendation, summaries
from utils.statistics.analysis import analyse
from utils.statistics.export import as_json
from utils.statistics.summaries import summarise_runs

CURVES = [  # accuracies on validation, point 0 first; the chosen point
    ([0.9, 0.5, 0.7, 0.7], 2),
    ([0.1, 0.8, 0.6, 0.8], 1),
    ([0.5, 0.1, 0.2, 0.3], 3),
    ([1.0, 0.0, 0.0, 0.0], 1),
]


def rows_of(accuracies, metric="dsa"):
    """The robust quantity has these accuracies on validation, all others the opposite."""
    return [
        row(
            p,
            metric,
            val_accuracy_robust=a,
            val_right_robust=pack(np.arange(10) < 10 * a),
            val_accuracy=1 - a,
            accuracy=1 - a,
            accuracy_robust=1 - a,
        )
        for p, a in enumerate(accuracies)
    ]


@pytest.mark.parametrize(("accuracies", "point"), CURVES)
def test_every_part_chooses_the_same_point(accuracies, point, tmp_path):
    rows = rows_of(accuracies)
    table = measured(results_table(rows))
    assert chosen_point(table.to_dict("records")) == point
    assert chosen_point(table[::-1].to_dict("records")) == point
    assert chosen_points(table)["point"].tolist() == [point]
    runs = summarise_runs(table)
    assert runs["chosen_point"].tolist() == [point]
    assert runs["chosen_val_right"].tolist() == [rows[point]["val_right_robust"]]
    curve = Curve(None, "s", "best", tmp_path, "c2_dsa")  # and its network is the one kept
    curve.rows = {r["point"]: r for r in rows}
    assert curve._wanted() == {point}


def test_a_point_with_a_problem_is_chosen_only_where_no_other_is_left():
    # without gradients nothing withstands the attack, but half of the clean accuracy is left
    rows, without = rows_of([0.5, 0.4, 0.3, 0.45]), "the network gives no numbers"
    for failed, chosen in (([3], 1), ([3, 1], 2), ([3, 1, 2], 3)):
        for point in failed:
            rows[point]["problem"] = without
        assert chosen_points(measured(results_table(rows)))["point"].tolist() == [chosen]
        curve = Curve(None, "s", "none", None, "c2_dsa")
        curve.rows, curve.keep = {r["point"]: r for r in rows}, "best"
        assert curve._wanted() == {chosen}


def test_each_curve_has_its_own_chosen_point_whatever_the_index():
    curves = zip("abcd", CURVES, strict=True)
    table = pd.concat([results_table(rows_of(a, metric)) for metric, (a, _) in curves])
    with pytest.raises(ValueError, match="expected those of one quantity"):
        chosen_points(table)
    assert chosen_points(measured(table))["point"].tolist() == [point for _, point in CURVES]


PAGES = [path for path in NOTEBOOKS if path.name.startswith(("3-4.1", "5.1", "5.2"))]


def announced(page, results):
    """What a page announces of a results table: the call in its template, made on that table."""
    calls = [
        node
        for cell in cells(page)
        for node in ast.walk(ast.parse(cell["source"]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "recommendation.announcement"
    ]
    (call,) = calls
    names = {"recommendation": recommendation, "summaries": summaries, "results": results}
    names |= {"selection": selection, "found": analyse(results)}
    return eval(ast.unparse(call), names)


def test_all_pages_announce_the_same_winner_of_one_configuration():
    """It is neither the most accurate on validation nor the one with the fewest inputs."""
    rights = {"dsa": [0, 5, 6, 9], "nc": [0, 5, 8, 7], "lsa": [0, 2, 1, 1]}
    table = results_table(
        row(
            p,
            metric,
            val_accuracy_robust=n / 10,
            val_right_robust=pack(np.arange(10) < n),
            accuracy_robust=n / 10,
            **dict.fromkeys(("right", "right_robust", "val_right"), pack(np.arange(10) < n)),
        )
        for metric, curve in rights.items()
        for p, n in enumerate(curve)
    )
    assert len(PAGES) == 3
    (said,) = {announced(page, table) for page in PAGES}
    winner = as_json(analyse(table))["recommendation"]
    assert (winner["metric"], winner["highest"][1]) == ("nc", "dsa")
    assert said == (
        "robust accuracy 0.000 -> 0.800, recommended among its metrics: "
        f"nc, {winner['n_inputs']:,.0f} inputs"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_all_pages_name_the_same_rule(page):
    prose = " ".join(" ".join(cell["source"].split()) for cell in cells(page, "markdown"))
    assert RULE in prose


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ([1] * 8 + [0] * 2, True),  # the same
        ([1] * 7 + [0] * 3, True),  # one input less: 0.1, the standard error is 0.1
        ([1] * 6 + [0] * 4, False),  # two less, all one way: 0.2 and 0.133
        ([0, 0, 0] + [1] * 6 + [1], True),  # 0.1 below, but five differ: 0.233
        ([1] * 10, True),  # above it
        ([0] * 10, False),
    ],
)
def test_what_is_near(right, expected):
    best = {"val_right": pack([1] * 8 + [0] * 2)}
    assert near(pd.DataFrame({"val_right": [pack(right)]}), best).tolist() == [expected]


def test_means_that_differ_by_the_rounding_of_sums_are_equal():
    def points(metric, shares, right):
        return [
            {"dataset": "d", "configuration": 2, "metric": metric, "seed": seed, "share": share}
            | {"val_accuracy": n / 200, "val_right": pack(np.arange(200) < n)}
            for seed, (share, n) in enumerate(zip(shares, right, strict=True))
        ]

    assert (0.1 + 0.7) / 2 < (0.4 + 0.4) / 2  # of binary fractions
    table = choose(
        pd.DataFrame(points("a", (0.1, 0.7), (179, 181)) + points("b", (0.4,) * 2, (181,) * 2))
    )
    assert table["near"].all()
    assert table.index[0] == (2, "b")  # as many inputs, and more accurate


def test_the_robust_quantity_chooses_and_the_studys_is_kept_beside_it():
    table = results_table(
        row(p, accuracy=0.1 * p, accuracy_robust=0.2, right=pack([p, 0]), right_robust=pack([1, p]))
        for p in (0, 1)
    )
    robust, study = measured(table), measured(table, "study")
    assert robust["accuracy"].tolist() == study["accuracy_robust"].tolist() == [0.2, 0.2]
    assert study["accuracy"].tolist() == robust["accuracy_study"].tolist() == [0, 0.1]
    assert robust["right"].tolist() == study["right_robust"].tolist() == ["2:gA==", "2:wA=="]
    assert study["right"].tolist() == robust["right_study"].tolist() == ["2:AA==", "2:gA=="]
    on_validation = [c for c in (*robust, *study) if c.startswith(("val_accuracy_r", "val_right_"))]
    assert on_validation == []  # one quantity alone chooses
    with pytest.raises(ValueError, match="quantity: expected one of robust, study, got 'x'"):
        measured(table, "x")


def test_images_that_are_attacked_and_those_that_are_not_are_strata():
    """By hand: of 6 images 2 are attacked."""
    clean, fresh = np.array([1, 1, 1, 0, 1, 0], bool), np.array([1, 0], bool)
    text = join(clean, fresh)
    each = credits(text)
    assert each.tolist() == [2, 0.5, 0.5, 0, 0.5, 0]  # 6 / 6 / 2 and 6 / 2 / 2
    assert each.mean() == pytest.approx((4 / 6 + 1 / 2) / 2)
    # variances 0.5625 of (2, 0.5) and 0.0625 of (0.5, 0, 0.5, 0), over 1 and 3
    expected = (2 / 6) ** 2 * 0.5625 / 1 + (4 / 6) ** 2 * 0.0625 / 3
    assert squared_error(each, text) == pytest.approx(expected)
    plain = pack(clean)
    assert squared_error(credits(plain), plain) == pytest.approx(4 / 6 * 2 / 6 / 5)
