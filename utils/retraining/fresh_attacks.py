"""Fresh attacks: what retrained networks are worth against an attack made for themselves.

The adversarial test set was made from the original network. A retrained one may be right on it
because it knows what that attack on that network leaves in an image, and still fall to the same
attack made anew: a defence is to be judged by attacks that take it into account (Athalye et al.).
So the chosen networks are attacked themselves, by an ensemble of strong attacks (Croce and Hein),
on the very test images that the adversarial test set was made from. Nothing is trained here.

References
----------
Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks", ICML 2020, arXiv:2003.01690.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security: Circumventing
Defenses to Adversarial Examples", ICML 2018, arXiv:1802.00420.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from utils.attacks.doubts import doubts
from utils.attacks.ensemble import Strength, accuracy_by_epsilon, l2_budget, worst_case
from utils.attacks.registry import ATTACKS
from utils.attacks.robustness import right
from utils.core.paths import Workspace
from utils.data.arrays import describe, load_array, load_pair
from utils.networks.copying import agree, copy_of, require_same
from utils.networks.files import load
from utils.retraining.fresh_results import BY_EPSILON, LEFT, ORIGINAL, fresh_table
from utils.retraining.outcomes import pack
from utils.retraining.results import KEY
from utils.retraining.selection import chosen_points, measured

if TYPE_CHECKING:
    import keras


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

    def some(self, n: int) -> AttackedInputs:
        """`n` of the images, spread evenly; all of them if `n` is 0 or there are no more."""
        most = len(self.labels)
        rows = np.arange(min(n or most, most)) * most // min(n or most, most)
        names = ("clean", "fixed", "labels", "attack")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def load_inputs(workspace: Workspace, dataset: str, seed: int) -> AttackedInputs:
    """Read what steps 0.0 and 1.1 wrote.

    Raises
    ------
    MissingFile, ValueError
        See `utils.data.arrays.load_pair`; also if the two do not belong together.
    """
    folder, about = workspace.adversarial(dataset, seed), describe(dataset, workspace)
    x, y = load_pair(workspace.data(dataset), "test", about, "0.0")
    fixed, labels = load_pair(folder, "adv_test", about, "1.1")
    names = ("source", "attack")
    source, attack = (load_array(folder / f"{name}_adv_test.npy", "1.1") for name in names)
    if source.max() >= len(y) or not np.array_equal(y[source], labels):
        raise ValueError(f"{folder}: not made from these test images; run step 1.1 again")
    return AttackedInputs(x[source], fixed, labels, attack, x, y)


def attack_chosen(
    model: keras.Model,
    folder: str | Path,
    results: pd.DataFrame,
    inputs: AttackedInputs,
    *,
    epsilon: float = 0.05,
    l2: float = 0.0,
    strength: Strength | None = None,
    n_images: int = 0,
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
        The results table of one data set, configuration and seed; it names the points.
    inputs : AttackedInputs
    epsilon, strength, seed
        See `utils.attacks.ensemble.worst_case`.
    l2 : float, default=0.0
        Budget in L2 of Carlini-Wagner; 0 for `utils.attacks.ensemble.l2_budget`.
    n_images : int, default=0
        Images attacked, spread evenly over those of `inputs`; 0 for all.
    progress : callable, optional
        Called with a short line of text after each network.

    Returns
    -------
    DataFrame
        A row a network, see `utils.retraining.fresh_results.COLUMNS`. The seconds are those of all
        attacks; the first one's include their compilation.

    Raises
    ------
    FileNotFoundError
        If a chosen network was not kept.
    ValueError
        If a file holds another network than that of the point it is named after.
    """
    network = copy_of(model, inputs.clean)  # what is compiled serves the weights of all
    attacked, strength = inputs.some(n_images), strength or Strength()
    l2 = l2 or l2_budget(epsilon, inputs.clean.shape[1:])
    setting = {"epsilon": epsilon, "l2": l2} | asdict(strength)
    first = results[results["point"] == 0].iloc[[0]].assign(metric=ORIGINAL)
    rows = []
    chosen = _of_use(chosen_points(measured(results)), progress)
    for row in pd.concat([first, chosen]).to_dict("records"):
        path: str | Path = "original model"
        kept = model
        if row["metric"] != ORIGINAL:
            path = Path(folder) / f"c{row['configuration']}_{row['metric']}_p{row['point']}.keras"
            kept = _kept(path, model)
        network.set_weights(kept.get_weights())
        require_same(kept, network, inputs.clean, f"the network to attack, made from {path},")
        _check_row(network, inputs, row, path)
        found = _measure(network, attacked, epsilon, l2, strength, seed)
        about = {name: row[name] for name in [*KEY, "n_inputs", "accuracy_adversarial"]}
        rows.append(about | setting | found)
        progress(
            f"{row['metric']}: accuracy {found['accuracy_fixed']:.3f} on the fixed inputs, "
            f"{found['accuracy_fresh']:.3f} in the worst case of fresh attacks"
            f"{', in doubt: ' if found['doubts'] else ''}{found['doubts']}"
        )
    return fresh_table(rows)


def _of_use(chosen: pd.DataFrame, progress: Callable[[str], None]) -> pd.DataFrame:
    """The rows of networks that give numbers; what is wrong with the others is told."""
    fine = chosen["problem"] == ""
    for row in chosen[~fine].to_dict("records"):
        progress(f"{row['metric']}: no network to attack: {row['problem']}")
    return chosen[fine]


def _kept(path: Path, like: keras.Model) -> keras.Model:
    """A kept network, from its file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run step 3-4.1 with keep_models=best")
    kept = load(path)
    if [w.shape for w in kept.weights] != [w.shape for w in like.weights]:
        raise ValueError(f"{path}: expected a network of the original model's architecture")
    return kept


def _check_row(network: keras.Model, inputs: AttackedInputs, row: dict, path: str | Path) -> None:
    """ValueError unless a network is as good as its row has it, on both parts of the test set."""
    parts: dict[str, tuple[Any, Any]] = {
        "clean": (inputs.all_clean, inputs.all_labels),
        "adversarial": (inputs.fixed, inputs.labels),
    }
    for part, (images, labels) in parts.items():
        found, expected = right(network, images, labels).mean(), row[f"accuracy_{part}"]
        if not agree(found, expected, len(labels)):
            raise ValueError(
                f"{path}: expected the network of point {row['point']}, which is right about "
                f"{expected:.3f} of the {part} test inputs, got one with {found:.3f}; "
                "run step 3-4.1 again"
            )


def _measure(
    network: keras.Model,
    inputs: AttackedInputs,
    epsilon: float,
    l2: float,
    strength: Strength,
    seed: int,
) -> dict[str, Any]:
    task, steps = (network, inputs.clean, inputs.labels, epsilon), strength.steps
    fixed = right(network, inputs.fixed, inputs.labels)
    linf = np.isin(inputs.attack, [a.id for a in ATTACKS.values() if a.norm == "Linf"])
    began = time.perf_counter()
    worst = worst_case(*task, strength, l2=l2, seed=seed)
    curve = accuracy_by_epsilon(*task, worst, steps, BY_EPSILON, seed=seed)
    signs = doubts(*task, worst, steps, seed=seed)
    seconds = time.perf_counter() - began
    return {
        "n_attacked": len(inputs.labels),
        "accuracy_fixed": fixed.mean(),
        "accuracy_fixed_linf": fixed[linf].mean() if linf.any() else np.nan,
        **{LEFT[name]: accuracy for name, accuracy in worst.left().items()},
        **{BY_EPSILON[multiple]: accuracy for multiple, accuracy in curve.items()},
        "seconds": seconds,
        "doubts": " ".join(signs),
        "right_fixed": pack(fixed),
        "right_fresh": pack(worst.right),
        "right_fresh_linf": pack(worst.right | (worst.fell_to == "cw")),  # which comes last
        "within_budget": pack(linf),
    }
