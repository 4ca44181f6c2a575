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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from utils.attacks.norm_ball import pgd
from utils.attacks.registry import ATTACKS
from utils.core.paths import Workspace
from utils.data.arrays import SPLITS, describe, load_array, load_pair
from utils.networks.activations import predict
from utils.networks.copying import agree, copy_of, require_same
from utils.networks.files import load
from utils.retraining.fresh_results import ORIGINAL, fresh_table
from utils.retraining.outcomes import pack
from utils.retraining.results import KEY
from utils.retraining.selection import chosen_points

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
        The results table of one data set, configuration and seed; it names the points.
    inputs : AttackedInputs
    epsilon, steps, restarts, seed
        See `withstands`.
    progress : callable, optional
        Called with a short line of text after each network.

    Returns
    -------
    DataFrame
        A row a network, see `utils.retraining.fresh_results.COLUMNS`. The seconds are those of the
        attack; the first one's include its compilation.

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
        path: str | Path = "original model"
        kept = model
        if row["metric"] != ORIGINAL:
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
    """ValueError unless a network is as good as its row has it, on both parts of the test set."""
    parts: dict[str, tuple[Any, Any]] = {
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
