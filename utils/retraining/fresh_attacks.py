"""Fresh attacks: what retrained networks are worth against an attack made for themselves.

The adversarial test set was made from the original network. A retrained one may be right on it
because it knows what that attack on that network leaves in an image, and still fall to the same
attack made anew: a defence is to be judged by attacks that take it into account (Athalye et al.).
So the chosen networks are attacked themselves by projected gradient descent (Madry et al.), white
box, on the very test images that the adversarial test set was made from. Nothing is trained here.

References
----------
Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018, arXiv:1706.06083.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security: Circumventing
Defenses to Adversarial Examples", ICML 2018, arXiv:1802.00420.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.attacks.norm_ball import pgd
from utils.attacks.registry import ATTACKS
from utils.core.files import atomic
from utils.core.paths import Workspace
from utils.core.seeds import rng
from utils.data.arrays import SPLITS
from utils.networks.activations import predict
from utils.networks.copying import agree, copy_of, require_same
from utils.networks.files import load
from utils.retraining.outcomes import pack, unpack
from utils.retraining.results import KEY, read_csv
from utils.retraining.selection import chosen_points

if TYPE_CHECKING:
    import keras

ORIGINAL = "original"
"""Stands for the metric in the row of the original model, which no metric guided."""

OUTCOMES = ["right_fixed", "right_fresh", "within_budget"]
COLUMNS = [
    *KEY,
    "n_inputs",
    "n_attacked",
    "accuracy_clean",
    "accuracy_fixed",
    "accuracy_fixed_linf",
    "accuracy_fresh",
    "seconds",
    *OUTCOMES,
]
"""`n_inputs`: retraining inputs; `n_attacked`: images attacked, and all accuracies are of these:
as they are, as the adversarial test set has them, of that the ones made within the fresh attack's
norm and budget (NaN if there are none), and under the fresh attack. `OUTCOMES` (see
`utils.retraining.outcomes`) tell which images are right on the fixed inputs and under the fresh
attack, and which fixed inputs are within the budget: what an interval takes."""

DRAWS = 1000
"""Samples of a bootstrap."""


@dataclass(frozen=True, eq=False)
class AttackedInputs:
    """Test images, and the adversarial inputs that were made from them.

    Attributes
    ----------
    clean, fixed : ndarray of shape (n, height, width, channels), dtype=float32
        Image i, and the adversarial test input made from it with the original model.
    labels : ndarray of shape (n,), dtype=int64
    attack : ndarray of shape (n,), dtype=str
        Id of the attack that made each of `fixed`.
    all_clean : ndarray of shape (m, height, width, channels), dtype=float32
        The whole test set, which results tables are about; by default `clean`.
    all_labels : ndarray of shape (m,), dtype=int64
    """

    clean: np.ndarray
    fixed: np.ndarray
    labels: np.ndarray
    attack: np.ndarray
    all_clean: np.ndarray | None = None
    all_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.all_clean is None:
            object.__setattr__(self, "all_clean", self.clean)
            object.__setattr__(self, "all_labels", self.labels)


def load_inputs(workspace: Workspace, dataset: str, seed: int) -> AttackedInputs:
    """Read what steps 0.0 and 1.1 wrote; ValueError if the two do not belong together."""
    folder = workspace.adversarial(dataset, seed)
    paths = [workspace.data(dataset) / f"{name}_test.npy" for name in "xy"]
    paths += [folder / f"{name}_adv_test.npy" for name in ("x", "y", "source", "attack")]
    x, y, fixed, labels, source, attack = (np.load(path, allow_pickle=False) for path in paths)
    if source.max() >= len(y) or not np.array_equal(y[source], labels):
        raise ValueError(f"{folder}: not made from these test images; run step 1.1 again")
    return AttackedInputs(x[source], fixed, labels, attack, x, y)


def withstands(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float = 0.05,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Which images a network classifies right, as they are and after every fresh attack.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    epsilon, steps
        Budget and gradient steps of `utils.attacks.norm_ball.pgd`.
    restarts : int, default=1
        Attacks, each from another random start; the worst counts.
    seed : int, default=0
        Decides the starts, alike for all networks.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    right = _right(model, images, labels)
    for restart in range(restarts):
        stream = len(SPLITS) + restart  # those before are step 1.1's
        attacked = pgd(model, images, labels, epsilon, steps, seed=(seed, stream))
        right &= _right(model, attacked, labels)
    return right


def attack_chosen(
    model: keras.Model,
    folder: str | Path,
    results: pd.DataFrame,
    inputs: AttackedInputs,
    *,
    epsilon: float = 0.05,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Attack the original model and the chosen network of every curve afresh.

    Parameters
    ----------
    model : keras.Model
        The original model; not changed.
    folder : path
        Holds the networks, as `utils.retraining.curves.retrain` keeps them.
    results : DataFrame
        The results table of one data set, configuration and seed; it says which point was chosen.
    inputs : AttackedInputs
    epsilon, steps, restarts, seed
        See `withstands`.
    progress : callable, optional
        Called with a short line of text after each network.

    Returns
    -------
    DataFrame
        A row a network, see `COLUMNS`. The seconds are those of the attack; the first one's
        include its compilation.

    Raises
    ------
    FileNotFoundError
        If a chosen network was not kept.
    ValueError
        If a file holds another network than that of the point it is named after.
    """
    network = copy_of(model, inputs.clean)  # what is compiled serves the weights of all
    first = results[results["point"] == 0].iloc[[0]].assign(metric=ORIGINAL)
    rows = []
    for row in pd.concat([first, chosen_points(results)]).to_dict("records"):
        if row["metric"] == ORIGINAL:
            path, kept = "original model", model
        else:
            path = Path(folder) / f"c{row['configuration']}_{row['metric']}_p{row['point']}.keras"
            kept = _kept(path, model)
        network.set_weights(kept.get_weights())
        require_same(kept, network, inputs.clean, f"the network to attack, made from {path},")
        _check_row(network, inputs, row, path)
        measured = _measure(network, inputs, epsilon, steps, restarts, seed)
        rows.append({name: row[name] for name in [*KEY, "n_inputs"]} | measured)
        progress(
            f"{row['metric']}: accuracy {measured['accuracy_fixed']:.3f} on the fixed inputs, "
            f"{measured['accuracy_fresh']:.3f} under a fresh attack"
        )
    return fresh_table(rows)


def _kept(path: Path, like: keras.Model) -> keras.Model:
    """A kept network, from its file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run step 3-4.1 with keep_models=best")
    kept = load(path)
    if [w.shape for w in kept.weights] != [w.shape for w in like.weights]:
        raise ValueError(f"{path}: expected a network of the original model's architecture")
    return kept


def _check_row(network: keras.Model, inputs: AttackedInputs, row: dict, path: str | Path) -> None:
    """ValueError unless a network is as good as its row says, on both parts of the test set."""
    parts = {
        "clean": (inputs.all_clean, inputs.all_labels),
        "adversarial": (inputs.fixed, inputs.labels),
    }
    for part, (images, labels) in parts.items():
        found, expected = _right(network, images, labels).mean(), row[f"accuracy_{part}"]
        if not agree(found, expected, len(labels)):
            raise ValueError(
                f"{path}: expected the network of point {row['point']}, which is right about "
                f"{expected:.3f} of the {part} test inputs, got one with {found:.3f}; "
                "run step 3-4.1 again"
            )


def _measure(
    network: keras.Model, inputs: AttackedInputs, epsilon: float, steps: int, restarts: int,
    seed: int,
) -> dict[str, float | str]:  # fmt: skip
    fixed = _right(network, inputs.fixed, inputs.labels)
    linf = np.isin(inputs.attack, [a.id for a in ATTACKS.values() if a.norm == "Linf"])
    began = time.perf_counter()
    fresh = withstands(network, inputs.clean, inputs.labels, epsilon, steps, restarts, seed)
    seconds = time.perf_counter() - began
    return {
        "n_attacked": len(inputs.labels),
        "accuracy_clean": _right(network, inputs.clean, inputs.labels).mean(),
        "accuracy_fixed": fixed.mean(),
        "accuracy_fixed_linf": fixed[linf].mean() if linf.any() else np.nan,
        "accuracy_fresh": fresh.mean(),
        "seconds": seconds,
        "right_fixed": pack(fixed),
        "right_fresh": pack(fresh),
        "within_budget": pack(linf),
    }


def _right(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return predict(model, images).argmax(axis=1) == labels


def fresh_table(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Check rows and bring their columns into the order of `COLUMNS`; ValueError if they can't be.

    No network withstands an attack on more images than it classifies right without.
    """
    table = pd.DataFrame(rows)
    if set(table.columns) != set(COLUMNS):
        raise ValueError(
            f"fresh attacks: expected columns {', '.join(COLUMNS)}; a table of an earlier version "
            "is made anew by step 4.2"
        )
    clean, fresh = table["accuracy_clean"], table["accuracy_fresh"]
    within = clean.le(1) & fresh.ge(0) & fresh.le(clean) & table["accuracy_fixed"].between(0, 1)
    if not within.all():  # nor is it for NaN
        raise ValueError("fresh attacks: expected accuracies in 0..1, fresh ones at most the clean")
    if table.duplicated(KEY).any():
        raise ValueError("fresh attacks: a row occurs twice")
    for right, accuracy in (("right_fixed", "accuracy_fixed"), ("right_fresh", "accuracy_fresh")):
        found = np.array([unpack(text).mean() for text in table[right]])
        if not np.allclose(found, table[accuracy], atol=1e-9):
            raise ValueError(f"fresh attacks: {accuracy} is not what {right} tells")
    return table[COLUMNS]


def write_fresh(path: str | Path, rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Write `fresh_table` of `rows` as CSV, whole or not at all, and return it."""
    table = fresh_table(rows)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)
    return table


def read_fresh(paths: Iterable[str | Path], results: pd.DataFrame) -> pd.DataFrame:
    """Read tables of `write_fresh` into one.

    Parameters
    ----------
    paths : iterable of path
        At least one.
    results : DataFrame
        The results tables that the attacked networks belong to.

    Raises
    ------
    ValueError
        If a file is no such table, or one of other networks than those that `results` choose.
    """
    chosen = chosen_points(results)[[*KEY, "accuracy_adversarial"]]
    tables = []
    for path in paths:
        try:
            table = fresh_table(read_csv(path, ["dataset", "metric", *OUTCOMES]))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        both = table[table["metric"] != ORIGINAL].merge(chosen, how="left", on=KEY)
        for row in both.itertuples():
            if not agree(row.accuracy_fixed, row.accuracy_adversarial, row.n_attacked):
                raise ValueError(f"{path}: not of the present results; run step 4.2 again")
        tables.append(table)
    return fresh_table(pd.concat(tables, ignore_index=True))


def in_words(table: pd.DataFrame) -> str:
    """A paragraph a data set and configuration: what a fresh attack leaves of the gain."""
    parts = table.groupby(["dataset", "configuration"], sort=False)
    return "\n\n".join(
        f"{name}, configuration {number}: {_in_words(part)}" for (name, number), part in parts
    )


def _in_words(part: pd.DataFrame) -> str:
    columns = ["accuracy_fixed", "accuracy_fixed_linf", "accuracy_fresh"]
    means = part.groupby(part["metric"] != ORIGINAL)[columns].mean()
    before, after = means.loc[False], means.loc[True]
    whole, same, fresh = (f"from {before[c]:.3f} to {after[c]:.3f}" for c in columns)
    comparable = not np.isnan(before["accuracy_fixed_linf"])
    part_of_them = f", on those made within the same budget {same}" if comparable else ""
    said = (
        f"on the fixed inputs retraining takes accuracy {whole}{part_of_them}, under a fresh "
        f"attack {fresh} (means of the chosen networks). "
    )
    left = gain_left(part)
    if left.least_gain <= 0:
        where = "those within the budget" if comparable else "the fixed inputs"
        return said + f"There is no gain beyond chance on {where} that a fresh attack could take."
    means_of = part[part["metric"] != ORIGINAL].groupby("metric", sort=False)["accuracy_fresh"]
    best = means_of.mean()
    where = " within the budget" if comparable else ""
    return said + (
        f"So {left.share:.0%} of the gain{where} is left (95 % interval {left.low:.0%} to "
        f"{left.high:.0%}, over images): {_verdict(left.low, left.high)} The highest under a "
        f"fresh attack is {best.max():.3f}, with {best.idxmax()}."
    )


@dataclass(frozen=True)
class GainLeft:
    """How much of the gain on fixed inputs is left under a fresh attack, as a share of 0..1.

    `low` and `high` are its 95 % interval, `least_gain` the lower end of that of the gain itself:
    where it is not above 0, no share means anything.
    """

    share: float
    low: float
    high: float
    least_gain: float


def gain_left(part: pd.DataFrame, draws: int = DRAWS) -> GainLeft:
    """The gain under the fresh attack over that on fixed inputs of the same budget.

    Gains are the mean accuracy of the chosen networks minus that of the original model. The
    interval is that of a percentile bootstrap (Efron and Tibshirani 1993) over the images: each
    draw takes as many images as there are, with replacement, and of an image all that was measured
    on it, by all networks. The networks are fixed, so it tells what other test images would say of
    these networks, not what other seeds or trainings would; seeds are drawn each for itself.

    Parameters
    ----------
    part : DataFrame
        Of `fresh_table`, of one data set and configuration. Where no input is within the budget,
        all of the fixed inputs count.
    draws : int
    """
    comparable = any(unpack(text).any() for text in part["within_budget"])
    fresh, fixed = gains = np.zeros((2, draws + 1))  # the first as measured
    runs = list(part.groupby("seed"))
    for seed, run in runs:
        is_original = run["metric"] == ORIGINAL
        gained = [
            np.mean([unpack(t) for t in run.loc[~is_original, column]], axis=0)
            - unpack(run.loc[is_original, column].iloc[0])
            for column in ("right_fresh", "right_fixed")
        ]
        n = len(gained[0])
        counted = unpack(run["within_budget"].iloc[0]) if comparable else np.ones(n, bool)
        values = np.stack([gained[0], gained[1] * counted, counted])
        generator = rng(int(seed), "bootstrap")
        for draw in range(draws + 1):
            images = generator.integers(n, size=n) if draw else np.arange(n)
            one, other, share = values @ np.bincount(images, minlength=n) / n
            gains[:, draw] += one, other / share if share else 0
    gains /= len(runs)
    least_gain = float(np.quantile(fixed[1:], 0.025))
    if fixed[0] <= 0 or least_gain <= 0:
        return GainLeft(np.nan, np.nan, np.nan, min(least_gain, float(fixed[0])))
    shares = np.clip(fresh / np.maximum(fixed, 1e-12), 0, 1)
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return GainLeft(float(shares[0]), float(low), float(high), least_gain)


def _verdict(low: float, high: float) -> str:
    """What the interval of the share allows to say."""
    if high < 0.5:
        return (
            "most of what the networks have learned is what the fixed inputs look like, and does "
            "not hold against an attacker who knows them."
        )
    if low >= 0.9:
        return "what the fixed inputs show holds against an attacker who knows the networks, too."
    if low >= 0.5:
        return "the greater part holds against an attacker who knows the networks."
    return "these images do not tell whether the greater part holds against who knows the networks."
