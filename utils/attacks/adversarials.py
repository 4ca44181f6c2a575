"""Adversarial inputs as the study makes them: images drawn, and shared out over the attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.attacks.arguments import at_least, checked
from utils.attacks.registry import ATTACKS, Attack
from utils.core.files import atomic, write_csv
from utils.core.seeds import rng
from utils.data.arrays import SPLITS, Splits
from utils.machine.meter import Meter, Usage
from utils.networks.activations import predict

if TYPE_CHECKING:
    import keras
    import pandas as pd


_ORDERS = {"Linf": np.inf, "L2": 2, "L1": 1}
HARDLY = 0.05
"""With no attack fooling more of the inputs than this, retraining has little to gain."""


@dataclass(frozen=True)
class Adversarials:
    """Adversarial inputs, grouped by attack in the order in which the attacks were named.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels), dtype=float32
    labels : ndarray of shape (n,), dtype=int64
        True labels.
    source : ndarray of shape (n,), dtype=int64
        Index of the image that each was made from.
    attack : ndarray of shape (n,), dtype=str
        Id of the attack.
    success : ndarray of shape (n,), dtype=bool
        Whether the model's prediction differs from the true label, recomputed from the finished
        images. Inputs that the model got wrong already count too; `attack_summary` tells apart.
    usage : dict of str to Usage
        What each attack took, without compilation.
    """

    images: np.ndarray
    labels: np.ndarray
    source: np.ndarray
    attack: np.ndarray
    success: np.ndarray
    usage: dict[str, Usage] = field(default_factory=dict)

    def save(self, folder: str | Path, split: str) -> None:
        """Write ``{x,y,source,attack,success}_adv_<split>.npy`` to `folder`."""
        arrays = {"x": self.images, "y": self.labels, "source": self.source}
        arrays |= {"attack": self.attack, "success": self.success}
        for name, array in arrays.items():
            with atomic(Path(folder) / f"{name}_adv_{split}.npy") as path:
                np.save(path, array)

    def norms(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """By attack: how large its changes of `images` are, in the attack's own norm."""
        found = {}
        for attack in dict.fromkeys(self.attack.tolist()):
            own = self.attack == attack
            change = (self.images[own] - images[self.source[own]]).reshape(own.sum(), -1)
            found[attack] = np.linalg.norm(change, _ORDERS[ATTACKS[attack].norm], axis=1)
        return found


def make_adversarials(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    attacks: Sequence[str],
    n: int | None = None,
    seed: int = 0,
    stream: int = 0,
    **options: Any,
) -> Adversarials:
    """Make `n` adversarial inputs as the study does.

    `n` images are drawn without replacement and shared out evenly over the attacks (the first
    ones take what is left over), so no image is used twice.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    attacks : sequence of str
        Ids from `ATTACKS`.
    n : int, default=None
        How many; None for as many as there are images.
    seed : int, default=0
        Of the draw and of `pgd`'s start.
    stream : int, default=0
        Which of several draws of one seed; splits differ in it, so that they share no noise.
    **options
        ``epsilon``, ``steps``, ``cw_steps``, ``cw_binary_search_steps``, ``cw_confidence`` and
        ``batch_size``; each attack takes those that it knows, with its own defaults.

    Returns
    -------
    Adversarials

    Raises
    ------
    ValueError
        For an unknown or repeated attack, an unknown option, or more inputs than there are images.
    """
    unknown = [attack for attack in attacks if attack not in ATTACKS]
    if unknown or not len(attacks) or len(set(attacks)) != len(attacks):
        raise ValueError(
            f"attacks: expected different ids out of {', '.join(ATTACKS)}, got {list(attacks)}"
        )
    known = {name for attack in ATTACKS.values() for name in attack.options.values()}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"options: expected some of {', '.join(sorted(known))}, got {unknown}")
    at_least("stream", stream, 0)
    images, labels = checked(model, images, labels, 1)
    n = len(images) if n is None else n
    if not len(attacks) <= n <= len(images):
        raise ValueError(
            f"n: expected from {len(attacks)} (one for each attack) to {len(images)} (the number "
            f"of images), got {n}"
        )
    source = rng(seed, "adversarials", stream).choice(len(images), n, replace=False)
    shares = np.array_split(source, len(attacks))
    made, usage, options = [], {}, {**options, "seed": (seed, stream)}
    meter = Meter()
    for attack, share in zip(attacks, shares, strict=True):
        entry = ATTACKS[attack]
        chosen = {own: options[name] for own, name in entry.options.items() if name in options}
        _compile(model, images[share], entry, chosen)
        with meter.measure() as usage[attack]:
            made.append(entry.function(model, images[share], labels[share], **chosen))
    adversarial = np.concatenate(made)
    return Adversarials(
        images=adversarial,
        labels=labels[source],
        source=source,
        attack=np.repeat(np.array(attacks, dtype=np.str_), [len(share) for share in shares]),
        success=predict(model, adversarial).argmax(axis=1) != labels[source],
        usage=usage,
    )


def _compile(
    model: keras.Model, images: np.ndarray, attack: Attack, options: Mapping[str, Any]
) -> None:
    """Run an attack briefly on one image: the first run compiles, which is not to be measured.

    The image gets the class that the model predicts, so that there is something to attack.
    """
    short = {option: 1 for option in attack.options if option.endswith("steps")}
    label = predict(model, images[:1]).argmax(axis=1)
    attack.function(model, images[:1], label, **{**options, **short})


def attack_summary(
    model: keras.Model, images: np.ndarray, adversarials: Adversarials
) -> pd.DataFrame:
    """How well each attack worked and how far it went, one row an attack.

    Parameters
    ----------
    model : keras.Model
        The attacked model.
    images : ndarray of shape (n, height, width, channels)
        The images that `adversarials.source` points into.
    adversarials : Adversarials
        What `make_adversarials` gave.

    Returns
    -------
    DataFrame
        ``attack``, ``name``, ``norm``, ``n``; ``accuracy_clean`` and ``accuracy_adversarial`` of
        the model on the images before and after; ``success_rate``, the share of images classified
        right before that are wrong after (NaN if none was right); mean and largest change in L2,
        mean and largest in L-infinity, mean in L1; ``seconds`` and ``seconds_per_1000`` images,
        ``energy_kwh`` and ``energy_method`` of making them. As for retraining, compilation (a
        second or so for each kind of attack) does not count.
    """
    import pandas as pd

    clean = np.asarray(images)[adversarials.source]
    right = predict(model, clean).argmax(axis=1) == adversarials.labels
    change = (adversarials.images - clean).reshape(len(clean), -1)
    l1, l2 = np.abs(change).sum(axis=1), np.linalg.norm(change, axis=1)
    linf = np.abs(change).max(axis=1)
    rows = []
    for attack, usage in adversarials.usage.items():
        own = adversarials.attack == attack
        fooled, before = adversarials.success[own], right[own]
        rows.append(
            {
                "attack": attack,
                "name": ATTACKS[attack].name,
                "norm": ATTACKS[attack].norm,
                "n": int(own.sum()),
                "accuracy_clean": before.mean(),
                "accuracy_adversarial": 1 - fooled.mean(),
                "success_rate": fooled[before].mean() if before.any() else np.nan,
                "l2_mean": l2[own].mean(),
                "l2_max": l2[own].max(),
                "linf_mean": linf[own].mean(),
                "linf_max": linf[own].max(),
                "l1_mean": l1[own].mean(),
                "seconds_per_1000": 1000 * usage.wall_seconds / own.sum(),
                "seconds": usage.wall_seconds,
                "energy_kwh": usage.energy_kwh,
                "energy_method": usage.energy_method,
            }
        )
    return pd.DataFrame(rows)


def make_splits(
    model: keras.Model,
    data: Splits,
    attacks: Sequence[str],
    n: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> tuple[dict[str, Adversarials], pd.DataFrame]:
    """Make adversarial inputs of every split, each from a random stream of its own.

    Parameters
    ----------
    model, attacks, seed, **options
        See `make_adversarials`.
    data : Splits
    n : int, default=0
        Adversarial inputs a split, at most as many as it has images; 0: as many as there are test
        images.
    progress : callable, optional
        Called with a short line of text after each split.

    Returns
    -------
    made : dict of str to Adversarials
        By split.
    summary : DataFrame
        `attack_summary` of all splits, with a column ``split``.
    """
    import pandas as pd

    n = n or min(len(data.y_test), len(data.y_train))
    made, summaries = {}, []
    for stream, split in enumerate(SPLITS):
        x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        own = min(n, len(y))
        made[split] = make_adversarials(model, x, y, attacks, own, seed, stream=stream, **options)
        summaries.append(attack_summary(model, x, made[split]).assign(split=split))
        fooled = f"{made[split].success.mean():.0%} fool the model"
        progress(f"{split}: {own:,} adversarial inputs, {fooled}")
    return made, pd.concat(summaries, ignore_index=True)


def save_adversarials(
    folder: str | Path, made: Mapping[str, Adversarials], summary: pd.DataFrame
) -> None:
    """Write what `make_splits` gave: arrays of every split, and ``attacks.csv``."""
    for split, adversarials in made.items():
        adversarials.save(folder, split)
    write_csv(Path(folder) / "attacks.csv", summary)


def counts(made: Mapping[str, Adversarials]) -> pd.DataFrame:
    """A row a split: its inputs, the different images they are made from, and their range."""
    import pandas as pd

    return pd.DataFrame(
        {
            "inputs": {split: len(a.labels) for split, a in made.items()},
            "different images": {split: len(np.unique(a.source)) for split, a in made.items()},
            "in 0..1": {s: 0 <= a.images.min() and a.images.max() <= 1 for s, a in made.items()},
        }
    )


def announcement(summary: pd.DataFrame) -> str:
    """One line for the page: accuracy on clean and adversarial test inputs."""
    test = summary[summary["split"] == "test"]
    clean, adversarial = (
        np.average(test[f"accuracy_{kind}"], weights=test["n"]) for kind in ("clean", "adversarial")
    )
    text = f"accuracy on adversarial test inputs {adversarial:.3f}, clean {clean:.3f}"
    if summary["success_rate"].max() < HARDLY:
        text += (
            "; the attacks hardly fool this network, so retraining has little to gain: take a "
            "larger epsilon or other attacks"
        )
    return text
