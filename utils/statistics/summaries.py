"""Summaries of the results table: a row a curve, means over its seeds.

What ``accuracy`` is was decided before, by `utils.retraining.selection.measured`: the robust one,
or the study's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from utils.retraining.outcomes import pack, parts
from utils.retraining.results import INPUT_COST
from utils.retraining.selection import chosen_points, near
from utils.statistics.images import accuracy_interval

KEYS = ["dataset", "configuration", "metric"]
INTERVALS = [
    "best_accuracy",
    "chosen_accuracy",
    "final_accuracy",
    "gain",
    "area",
    "area_seconds",
    "clean_lost",
    "total_seconds",
]
_COSTS = ["fit_seconds", "cpu_seconds", "energy_kwh"]
_WITH_INPUTS = {
    unit: [own, f"adversarial_{unit}", f"scoring_{unit}"]
    for unit, own in (("seconds", "fit_seconds"), ("energy_kwh", "energy_kwh"))
}
_NEEDED = [
    *KEYS,
    "seed",
    "point",
    "n_inputs",
    "n_prefix",
    "n_adversarial",
    "accuracy",
    "accuracy_clean",
    "val_accuracy",
    "right",
    "val_right",
    *_COSTS,
    *INPUT_COST,
    "cpu_percent",
    "memory_peak_mb",
]


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its two-sided t-interval.

    Parameters
    ----------
    values : sequence of float
        One value a run (seed); NaN values are left out.
    confidence : float, default=0.95
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    mean, half_width : float
        ``t(1 - (1 - confidence) / 2, n - 1) * s / sqrt(n)`` with the sample standard deviation
        ``s``. The half-width is NaN for fewer than two values: one run has no spread.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    if n < 2:
        return (float(known[0]) if n else np.nan), np.nan
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    return float(known.mean()), float(t * known.std(ddof=1) / np.sqrt(n))


def summarise_runs(results: pd.DataFrame) -> pd.DataFrame:
    """Measure every retraining curve: one row a (dataset, configuration, metric, seed).

    Parameters
    ----------
    results : DataFrame
        Of `utils.retraining.selection.measured`; each curve has its point 0 (the original model)
        and at least one retrained point.

    Returns
    -------
    DataFrame
        The columns described in `summarise_seeds`, without intervals and ``near_best_runs``, and
        with ``seed`` and outcomes (see `utils.retraining.outcomes`): ``chosen_val_right`` on the
        validation inputs, ``original_right``, ``best_right``, ``chosen_right``, ``final_right`` on
        the test inputs, and what `measured` left of the other quantity, such as
        ``chosen_right_study``.

    Raises
    ------
    ValueError
        If a column, point 0 or every retrained point is missing, a point is given twice, or an
        accuracy is NaN.
    """
    missing = [column for column in _NEEDED if column not in results]
    if missing:
        raise ValueError(f"results: expected a results table, missing columns {missing}")
    if results[["accuracy", "val_accuracy"]].isna().any(axis=None):
        raise ValueError("results: expected numbers in accuracy and val_accuracy, got NaN")
    rows = []
    for _, runs in results.groupby(["dataset", "configuration", "seed"], sort=False):
        for metric, curve in runs.groupby("metric", sort=False):
            _check_points(curve, metric)
        picks = chosen_points(runs).sort_values("n_inputs", kind="stable")
        highest = picks.loc[picks["val_accuracy"] == picks["val_accuracy"].max()].iloc[0]
        longest = runs.groupby("metric")["fit_seconds"].max().min()  # seconds that all curves have
        for metric, curve in runs.groupby("metric", sort=False):
            chosen = picks[picks["metric"] == metric].iloc[0]
            keys = {name: chosen[name] for name in [*KEYS, "seed"]}
            rows.append(keys | _measure(curve, chosen, highest, longest))
    table = pd.DataFrame(rows)
    return table[[*KEYS, "seed", *(c for c in table if c not in [*KEYS, "seed"])]]


def _check_points(curve: pd.DataFrame, metric: str) -> None:
    points = sorted(curve["point"].tolist())
    if points[0] != 0 or len(points) < 2 or len(set(points)) != len(points):
        raise ValueError(
            f"results: expected point 0 and retrained points, once each, for "
            f"{metric} in configuration {curve['configuration'].iloc[0]}, got {points}"
        )


def _measure(
    curve: pd.DataFrame, chosen: pd.Series, highest: pd.Series, longest: float
) -> dict[str, float | str]:
    """Numbers of one curve, that is one metric, configuration and seed, and its `chosen` point.

    The point `highest` on validation and the `longest` common time are those of all metrics of its
    configuration.
    """
    curve = curve.sort_values("point", ignore_index=True)
    original, retrained = curve.iloc[0], curve.iloc[1:]
    picks = {  # idxmax takes the first of equals: the fewest inputs
        "best": retrained.loc[retrained["accuracy"].idxmax()],
        "chosen": chosen,
        "final": retrained.iloc[-1],
        "near_best": _first(curve[near(curve, highest)]),
    }
    first, accuracy = curve["n_prefix"].to_numpy(float), curve["accuracy"].to_numpy(float)
    parts = [c for c in curve if c.startswith("accuracy_")]  # clean, fresh, each attack ...
    rights = [c for c in curve if c.startswith("right")]
    to_near_best = curve["point"] <= picks["near_best"]["point"]  # never where not reached
    near_best_search = curve.loc[to_near_best, "fit_seconds"].sum(min_count=1)
    return {
        "original_accuracy": original["accuracy"],
        **{f"original_{part}": original[part] for part in parts},
        **{f"{name}_accuracy": picks[name]["accuracy"] for name in ("best", "chosen", "final")},
        "near_best_accuracy": picks["near_best"]["accuracy"],
        "chosen_val_accuracy": chosen["val_accuracy"],
        "chosen_val_right": chosen["val_right"],
        **{
            f"{name}_{right}": pick[right]
            for name, pick in {"original": original, **picks}.items()
            if name != "near_best"
            for right in rights
        },
        **{f"chosen_{part}": chosen[part] for part in parts},
        **{f"{name}_point": picks[name]["point"] for name in ("best", "chosen")},
        **{f"{name}_n_inputs": pick["n_inputs"] for name, pick in picks.items()},
        **{
            f"{name}_{n}": picks[name][n]
            for name in ("chosen", "final")
            for n in ("n_prefix", "n_adversarial")
        },
        **{
            f"{name}_{cost.removeprefix('fit_')}": pick[cost]
            for name, pick in picks.items()
            for cost in _COSTS
        },
        **{
            f"chosen_{unit}_with_inputs": chosen[costs].astype(float).sum(skipna=False)
            for unit, costs in _WITH_INPUTS.items()
        },
        "near_best_search_seconds": near_best_search,
        "gain": picks["best"]["accuracy"] - original["accuracy"],
        "area": np.trapezoid(accuracy, first) / (first[-1] - first[0]),
        "area_seconds": _area_over_seconds(curve, longest),
        "clean_lost": original["accuracy_clean"] - chosen["accuracy_clean"],
        "clean_lost_most": original["accuracy_clean"] - retrained["accuracy_clean"].min(),
        "total_seconds": retrained["fit_seconds"].sum(),
        "total_energy_kwh": retrained["energy_kwh"].sum(skipna=False),
        "cpu_percent": retrained["cpu_percent"].mean(),
        "memory_peak_mb": retrained["memory_peak_mb"].max(),
    }


def _first(rows: pd.DataFrame) -> pd.Series:
    """The first of some rows; one of NaN if there is none."""
    return rows.iloc[0] if len(rows) else pd.Series(np.nan, index=rows.columns)


def _area_over_seconds(curve: pd.DataFrame, longest: float) -> float:
    """Mean accuracy over the seconds of one retraining, to `longest`; see `summarise_seeds`."""
    ordered = curve.sort_values("fit_seconds", kind="stable")
    seconds, accuracy = ordered["fit_seconds"].to_numpy(), ordered["accuracy"].to_numpy()
    if not longest > seconds[0]:
        return np.nan
    inside = seconds < longest
    at = np.append(seconds[inside], longest)
    heights = np.append(accuracy[inside], np.interp(longest, seconds, accuracy))
    return np.trapezoid(heights, at) / (longest - seconds[0])


def summarise_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    r"""Take the seeds of each curve together: one row a (dataset, configuration, metric).

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns, of one or several data sets, configurations and seeds.

    Returns
    -------
    DataFrame
        Means over the seeds; the columns named in ``INTERVALS`` are followed by
        ``<name>_interval``, the half-width of the 95 % t-interval (NaN for one seed); where
        there is one seed, accuracies have ``<name>_low`` and ``<name>_high``, their 95 % interval
        over images, see `utils.statistics.images`.

        ``n_seeds``
            Number of runs.
        ``original_accuracy``
            Accuracy of the original model (point 0); ``original_accuracy_clean``, ``_fresh``,
            ``_adversarial`` (fixed) and one for each attack: on parts of the test inputs; and
            ``_study`` or ``_robust``, the other quantity.
        ``best_accuracy``, ``best_point``, ``best_n_inputs``, ``best_...``
            The retrained point with the highest accuracy *on the test inputs*, as the study
            picks it. It is optimistic: the same inputs choose the point and judge it.
        ``chosen_...``
            The same for the retrained point with the highest accuracy on *validation* inputs
            (``chosen_val_accuracy``). The test inputs had no say in it, so this is the number to
            quote. ``chosen_accuracy_clean`` and so on: as above.
        ``final_...``
            The last point: retrained on all inputs.
        ``chosen_n_prefix``, ``chosen_n_adversarial``, ``final_...``
            Of its inputs, those that the metric put first; and the adversarial ones.
        ``near_best_...``
            The first point, the original model included, whose accuracy *on validation* is
            within one standard error of the highest of any metric in this data set, configuration
            and seed (see `utils.retraining.selection`; ``near_best_accuracy`` is on test inputs).
            NaN if not reached in every seed; ``near_best_runs`` counts those in which it was.
        ``..._seconds``, ``..._cpu_seconds``, ``..._energy_kwh``
            Of retraining *that one point*. Every point starts from the same weights, so this is
            what a user pays who knows the point. ``near_best_search_seconds`` is what finding
            it takes: all points up to and with it.
        ``chosen_seconds_with_inputs``, ``chosen_energy_kwh_with_inputs``
            The same of the chosen point, with making and scoring its inputs; see
            `utils.retraining.costs.input_costs`. NaN where that was not measured.
        ``gain``
            ``best_accuracy - original_accuracy``.
        ``area``, ``area_seconds``
            Normalised area under the accuracy curve over inputs and over seconds, see Notes.
        ``clean_lost``, ``clean_lost_most``
            Accuracy on clean test inputs that retraining costs, ``a_clean(0) - a_clean(p)``: at
            the chosen point, and at the worst retrained point on the way; negative if it gains.
        ``total_seconds``, ``total_energy_kwh``
            The whole curve: all its retrainings together.
        ``cpu_percent``, ``memory_peak_mb``
            Mean over the retrained points (100 = one core); highest of points and seeds.

    Notes
    -----
    With data points :math:`(n_i, a_i)`, :math:`i = 0 \ldots p`, of inputs and accuracy,

    .. math:: area = \frac{1}{n_p - n_0} \sum_{i=1}^{p} (n_i - n_{i-1}) \frac{a_{i-1} + a_i}{2},

    the mean accuracy along the curve: 1 for a model that is always right, and higher for a
    metric that reaches the same accuracy with fewer inputs. Of equal points the one with the
    fewest inputs counts.

    ``area_seconds`` is the same with :math:`t_i`, the seconds of retraining point *i* alone, in
    the place of :math:`n_i`, points in the order of their seconds, up to :math:`T`, the largest
    time that every curve of the data set, configuration and seed reaches (the accuracy at
    :math:`T` is interpolated): the mean accuracy for a time between 0 and :math:`T`.
    """
    rows = []
    for keys, group in runs.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, keys, strict=True)) | {"n_seeds": len(group)}
        for column in group.select_dtypes("number").columns.drop(["configuration", "seed"]):
            row[column] = group[column].mean(skipna=False)
            if column in INTERVALS:
                row[f"{column}_interval"] = mean_interval(group[column])[1]
        if len(group) == 1:
            row |= _over_images(group.iloc[0])
        row["near_best_runs"] = int(group["near_best_n_inputs"].notna().sum())
        rows.append(row | {"memory_peak_mb": group["memory_peak_mb"].max()})
    return pd.DataFrame(rows)


def _over_images(run: pd.Series) -> dict[str, float]:
    """Intervals of the accuracies of a run, and of the parts whose outcomes are known."""
    outcomes: dict[str, str] = {}
    for name in ("original", "best", "chosen", "final"):
        texts = {c: run[c] for c in run.index if c.startswith(f"{name}_right")}
        outcomes |= {c.replace("right", "accuracy"): text for c, text in texts.items()}
        each = {len(found): found for found in map(parts, texts.values())}
        if 2 in each:  # of the robust quantity
            known = dict(zip(("clean", "fresh"), each[2], strict=True))
            if 1 in each:  # of the study's: clean images, then adversarial ones
                known["adversarial"] = each[1][0][len(known["clean"]) :]
            outcomes |= {f"{name}_accuracy_{p}": pack(r) for p, r in known.items() if len(r)}
    found = {column: accuracy_interval([text]) for column, text in outcomes.items()}
    return {
        f"{column}_{end}": value
        for column, ends in found.items()
        for end, value in zip(("low", "high"), ends, strict=True)
    }
