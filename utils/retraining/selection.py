r"""What validation inputs choose: the point of a curve, and the order and configuration to use.

That is decided here and nowhere else; the test inputs have no say in it.

- The *chosen point* of a curve is the retrained one with the highest robust accuracy on validation
  images (see `QUANTITIES`); of equals, the one with the fewest inputs. A point with a problem is
  chosen only where no other is left.
- Of several curves, the *recommended* one is that whose chosen point takes the fewest inputs, of
  those within one standard error of the most accurate one: the rule of one standard error (Breiman,
  Friedman, Olshen and Stone, "Classification and Regression Trees", 1984, section 3.4.3), as
  these inputs cannot separate what is closer than that.

The standard error is that of the *paired* difference. All points are measured on the same inputs,
and what they have in common does not blur their difference: with :math:`d_i \in \{-1, 0, 1\}`, how
two points differ on input :math:`i` of :math:`n`, its square is

.. math:: SE^2 = \frac{1}{n (n - 1)} \sum_i (d_i - \bar d)^2.

Where fewer images are attacked anew than there are, :math:`d_i` is the difference of `credits`, and
images with and without an attack are strata, see `utils.retraining.outcomes.squared_error`.

Over several seeds of a data set, the mean of these over the seeds is taken, not a smaller one, as
the seeds share their images; to it is added the variance of the mean difference over the seeds
(:math:`s^2 / S` for :math:`S` seeds; unknown, and left out, for one). Data sets are independent:
their squares are added and divided by the square of their number. Inputs count as independent, too,
though an adversarial input has much in common with the image that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from utils.retraining.outcomes import credits, squared_error

CURVE = ["dataset", "configuration", "metric", "seed"]
"""What names a curve."""
PAIR = ["configuration", "metric"]
RULE = "the fewest inputs within one standard error of the highest robust accuracy on validation"
"""How one of several curves is recommended, in words."""
DIGITS = 9
"""Decimals that count: means that differ by the rounding of their sums alone are equal."""


QUANTITIES = {
    "robust": "mean of the accuracy on clean images and of that under a fresh attack",
    "study": "accuracy on clean and fixed adversarial images together",
}
"""What a network is judged by. The robust one chooses; the study's is shown beside it."""

_COLUMNS = ("accuracy", "val_accuracy", "right", "val_right")


def measured(results: pd.DataFrame, quantity: str = "robust") -> pd.DataFrame:
    """A results table in which ``accuracy`` and its validation columns are those of one quantity.

    Parameters
    ----------
    results : DataFrame
        The results table, which has the columns of all quantities.
    quantity : {"robust", "study"}
        See `QUANTITIES`.

    Returns
    -------
    DataFrame
        With ``accuracy, val_accuracy, right, val_right`` of that quantity. Of the other one there
        is what the test inputs say, ``accuracy_<quantity>`` and ``right_<quantity>``; it chooses
        nothing, so it has nothing on validation.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    if quantity == "study":
        return results.drop(columns=["val_accuracy_robust", "val_right_robust"])
    results = results.drop(columns=["val_accuracy", "val_right"])
    beside = results.rename(columns={"accuracy": "accuracy_study", "right": "right_study"})
    return beside.rename(columns={f"{column}_robust": column for column in _COLUMNS})


def chosen_point(rows: Iterable[Mapping]) -> int:
    """The chosen point of one curve.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of the results table; point 0, the original model, does not count.
    """

    def value(row: Mapping) -> tuple:
        # Without a gradient nothing withstands an attack, but clean accuracy may still be high.
        return not row.get("problem"), row["val_accuracy"], -row["point"]

    return max((row for row in rows if row["point"]), key=value)["point"]


def chosen_points(results: pd.DataFrame) -> pd.DataFrame:
    """The row of the chosen point of each curve of what `measured` returns.

    Of the robust quantity it is the one whose network `utils.retraining.store.Curve` keeps.
    """
    if "val_accuracy_robust" in results:
        raise ValueError("results: expected those of one quantity, see `measured`")
    picks = []
    for _, curve in results.groupby(CURVE, sort=False):
        point = chosen_point(curve.to_dict("records"))
        picks.append(curve[curve["point"] == point])
    return pd.concat(picks)


def paired(first: str, second: str) -> tuple[float, float]:
    """Difference of two accuracies on the same inputs, and its squared standard error.

    Parameters
    ----------
    first, second : str
        Outcomes of `utils.retraining.outcomes.pack`, such as the column ``val_right`` has.

    Raises
    ------
    ValueError
        If they are not of equally many inputs.
    """
    one, two = credits(first), credits(second)
    if len(one) != len(two):
        raise ValueError(f"outcomes: expected equally many, got {len(one)} and {len(two)}")
    differences = one - two
    return float(differences.mean()), squared_error(differences, first)


def standard_error(outcomes: str) -> float:
    """Standard error of an accuracy; of plain outcomes ``sqrt(p (1 - p) / (n - 1))``."""
    return float(np.sqrt(squared_error(credits(outcomes), outcomes)))


def near(rows: pd.DataFrame, best: Mapping) -> np.ndarray:
    """Which points, of one data set and seed, are within one standard error of `best`.

    Parameters
    ----------
    rows : DataFrame of n rows
        Of the results table.
    best : mapping
        Row of the point that they are held against.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    found = [paired(best["val_right"], outcomes) for outcomes in rows["val_right"]]
    return np.array(
        [below <= np.sqrt(square) + 10.0**-DIGITS for below, square in found], dtype=bool
    )


def complete(points: pd.DataFrame) -> pd.DataFrame:
    """The rows of those (configuration, metric) pairs that every data set and seed has.

    Means over other seeds or data sets than those of the rest would not compare.
    """
    cells = points["dataset"].nunique() * points["seed"].nunique()
    return points[points.groupby(PAIR)["seed"].transform("size") == cells]


def choose(points: pd.DataFrame) -> pd.DataFrame:
    """Hold the chosen points of all (configuration, metric) pairs against the most accurate one.

    Parameters
    ----------
    points : DataFrame
        A row a curve: columns `CURVE`, and of the chosen point ``share`` (of all inputs of its data
        set), ``val_accuracy`` and ``val_right``. Data sets count alike; a pair that was not run on
        all of them with every seed is left out, see `complete`.

    Returns
    -------
    DataFrame
        Index ``configuration, metric``; the recommended pair is the first row. ``share`` and
        ``val_accuracy``, means over the runs; ``below``, the highest of these accuracies minus this
        one; ``error``, the standard error of that difference, see above; ``near``, whether it is
        within it. Of equals in inputs, the more accurate on validation comes first; the time that
        they took has no say, as it differs by chance.

    Raises
    ------
    ValueError
        If there is no pair to choose.
    """
    points = complete(points)
    if points.empty:
        raise ValueError(
            "runs: expected a configuration and metric run on every data set with every seed"
        )
    grouped = points.set_index(["dataset", "seed"]).groupby(PAIR)
    table = grouped[["share", "val_accuracy"]].mean().round(DIGITS)
    table = table.sort_values(["val_accuracy", "share"], ascending=[False, True], kind="stable")
    outcomes = {pair: part["val_right"] for pair, part in grouped}
    best = outcomes[table.index[0]]
    table["below"] = table["val_accuracy"].iloc[0] - table["val_accuracy"]
    table["error"] = [_error(best, outcomes[pair]) for pair in table.index]
    table["near"] = table["below"] <= table["error"] + 10.0**-DIGITS
    order = ["near", "share", "val_accuracy"]
    return table.sort_values(order, ascending=[False, True, False], kind="stable")


def _error(first: pd.Series, second: pd.Series) -> float:
    """Standard error of the mean difference of two pairs; outcomes by (dataset, seed)."""
    squares = []
    for dataset, outcomes in first.groupby(level="dataset"):
        other = second.loc[dataset]
        found = [paired(own, other[seed]) for (_, seed), own in outcomes.items()]
        differences, images = map(np.array, zip(*found, strict=True))
        seeds = differences.var(ddof=1) / len(found) if len(found) > 1 else 0.0
        squares.append(images.mean() + seeds)
    return float(np.sqrt(sum(squares)) / len(squares))
