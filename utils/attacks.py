"""Adversarial attacks on image classifiers: FGSM, BIM, PGD and Carlini-Wagner.

All take ``(model, images, labels)``: a Keras classifier, images float32 (n, height, width,
channels) in [0, 1] and the true labels, int (n,); all return adversarial images of the same shape
in the same order, whether or not they fool the model. They are untargeted and white-box, work on
the logits (`utils.models.logits_of`) and leave the model as it is. An image's result depends on
its own values only, apart from rounding, not on the images that share its batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.activations import check_images, kept, predict
from utils.attack_graphs import BOX, compile_ascent, compile_carlini_wagner, compile_fooled
from utils.workspace import atomic

if TYPE_CHECKING:
    import keras
    import pandas as pd


def fgsm(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    *,
    batch_size: int = 512,
) -> np.ndarray:
    """Fast gradient sign method: one step of `eps` along the sign of the loss's gradient.

    Parameters
    ----------
    model, images, labels
        See the module.
    eps : float, default=0.05
        Largest change of a pixel (L-infinity); pixels range over [0, 1].
    batch_size : int, default=512
        Images a gradient step.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015,
    arXiv:1412.6572.
    """
    return _ascend(model, images, labels, "linf", eps, 1, eps, batch_size)


def bim(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method: small FGSM steps, kept within `eps` of the image (L-infinity).

    Parameters
    ----------
    model, images, labels
        See the module.
    eps : float, default=0.05
        Largest change of a pixel (L-infinity).
    steps : int, default=10
        Gradient steps.
    step_size : float, default=None
        Length of a step; None for ``2 * eps / steps``, twice what would just reach the border, so
        that the path may turn (with 10 steps 0.2 of `eps`, foolbox's default).
    batch_size : int, default=512
        Images a gradient step.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", ICLR 2017 workshop,
    arXiv:1607.02533.
    """
    return _ascend(model, images, labels, "linf", eps, steps, step_size, batch_size)


def pgd(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    seed: int = 0,
    batch_size: int = 512,
) -> np.ndarray:
    """Projected gradient descent: `bim` from a random point within `eps` of the image.

    Parameters
    ----------
    model, images, labels, eps, steps, step_size, batch_size
        As in `bim`.
    seed : int, default=0
        Of the start; an image's start depends on the seed and on its place in `images`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
    arXiv:1706.06083.
    """
    rng = np.random.default_rng([seed, 23])
    return _ascend(model, images, labels, "linf", eps, steps, step_size, batch_size, rng)


def bim_l1(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method within `eps` of the image in the L1 norm.

    Each step goes along the gradient, scaled to L1 length `step_size`; what leaves the ball is
    scaled back. This is foolbox's ``L1BasicIterativeAttack``, which the study's notebooks ran as
    "BIM". `eps` bounds the *sum* of all pixels' changes, so 0.05 is a far smaller budget here
    than for `bim`. Parameters and result as in `bim`.

    References
    ----------
    Rauber, Brendel, Bethge, "Foolbox", 2017, arXiv:1707.04131.
    """
    return _ascend(model, images, labels, "l1", eps, steps, step_size, batch_size)


def bim_l2(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method within `eps` of the image in the L2 norm.

    As `bim_l1`, with Euclidean lengths: foolbox's ``L2BasicIterativeAttack``, which the study's
    notebooks ran as "CW". Parameters and result as in `bim`.

    References
    ----------
    Rauber, Brendel, Bethge, "Foolbox", 2017, arXiv:1707.04131.
    """
    return _ascend(model, images, labels, "l2", eps, steps, step_size, batch_size)


def carlini_wagner(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    steps: int = 50,
    binary_search_steps: int = 5,
    confidence: float = 0.0,
    *,
    learning_rate: float = 0.05,
    initial_const: float = 1.0,
    batch_size: int = 256,
) -> np.ndarray:
    """Carlini and Wagner's L2 attack: the smallest change that fools the model.

    Minimises ``|x' - x|^2 + c * max(0, logit(label) - largest other logit + confidence)`` with
    Adam over w in ``x' = (tanh(w) + 1) / 2`` and searches for the smallest constant c that works,
    for each image by itself.

    Parameters
    ----------
    model, images, labels
        See the module.
    steps : int, default=50
        Adam steps for one constant, at most: it stops when a tenth of them brings no progress.
    binary_search_steps : int, default=5
        Constants tried for each image: ten times larger until one works or smaller until one
        fails, then the geometric mean of the two.
    confidence : float, default=0.0
        By how much another logit must exceed the label's; larger means surer and farther away.
    learning_rate : float, default=0.05
        Of Adam.
    initial_const : float, default=1.0
        First constant.
    batch_size : int, default=256
        Images optimised together; one that is done leaves, and the next takes its place.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32
        The success of smallest L2 norm that was met; the image itself where there was none, and
        where the model is wrong (by `confidence`) about it to begin with.

    Notes
    -----
    Two changes make few steps go far. The range of tanh is 5 % wider than [0, 1], and clipped:
    black and white pixels, which the paper puts where tanh is flat and Adam needs many steps to
    leave, can move at once. The constant is searched on a logarithmic scale. On `digits`, 50 steps
    for each of 5 constants come within 3 % of the mean L2 that 1,000 steps for each of 9 reach
    with the paper's own.

    References
    ----------
    Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017,
    arXiv:1608.04644.
    """
    images, labels = _checked(model, images, labels, batch_size)
    _at_least("steps", steps, 1)
    _at_least("binary_search_steps", binary_search_steps, 1)
    _at_least("confidence", confidence, 0)
    descend = kept(model, "carlini_wagner", lambda: compile_carlini_wagner(model))
    n, chunk = len(images), max(1, steps // 10)
    best, best_norm = images.copy(), np.full(n, np.inf, np.float32)
    const = np.full(n, initial_const, np.float32)
    lower, upper = np.zeros(n, np.float32), np.full(n, np.inf, np.float32)
    searched, taken = np.zeros(n, np.int64), np.zeros(n, np.int64)
    found, least = np.zeros(n, bool), np.full(n, np.inf, np.float32)

    def start(rows: np.ndarray) -> list[np.ndarray]:
        taken[rows], found[rows], least[rows] = 0, False, np.inf
        point = np.arctanh((2 * images[rows] - 1) / np.float32(BOX))
        return [point, np.zeros_like(point), np.zeros_like(point)]  # and Adam's two moments

    fooled = kept(model, "fooled", lambda: compile_fooled(model))
    already = [
        fooled(images[i : i + 1024], labels[i : i + 1024], confidence) for i in range(0, n, 1024)
    ]
    waiting = np.flatnonzero(~np.concatenate(already)) if already else np.empty(0, np.int64)
    rows, waiting = waiting[:batch_size], waiting[batch_size:]
    state = start(rows)
    while len(rows):
        size = np.minimum(chunk, steps - taken[rows])
        *state, best[rows], best_norm[rows], hit, loss = (
            value.numpy()
            for value in descend(
                images[rows], labels[rows], const[rows], *state, taken[rows], size, best[rows],
                best_norm[rows], confidence, learning_rate,
            )
        )  # fmt: skip
        taken[rows] += size
        found[rows] |= hit
        over = (taken[rows] >= steps) | ~(loss < 0.999 * least[rows])
        least[rows] = loss
        if not over.any():
            continue
        ended = rows[over]
        won = found[ended]
        upper[ended[won]], lower[ended[~won]] = const[ended[won]], const[ended[~won]]
        low, high = lower[ended], upper[ended]
        const[ended] = np.where(
            np.isinf(high), 10 * low, np.where(low == 0, high / 10, np.sqrt(low * high))
        )
        searched[ended] += 1
        again = ended[searched[ended] < binary_search_steps]
        free = len(ended) - len(again)
        entering = np.concatenate([again, waiting[:free]])
        waiting = waiting[free:]
        rows = np.concatenate([rows[~over], entering])
        state = [
            np.concatenate([old[~over], new])
            for old, new in zip(state, start(entering), strict=True)
        ]
    return _checked_result(best)


@dataclass(frozen=True)
class Attack:
    """One attack: how it is called, what it bounds, where it comes from.

    `options` gives, for each option of `function`, the name under which users set it.
    """

    id: str
    name: str
    norm: str
    reference: str
    function: Callable[..., np.ndarray]
    options: Mapping[str, str]


_BALL = {"eps": "epsilon", "steps": "steps", "batch_size": "batch_size"}
ATTACKS: dict[str, Attack] = {
    attack.id: attack
    for attack in (
        Attack(
            "fgsm", "FGSM", "Linf", "Goodfellow et al., ICLR 2015", fgsm,
            {"eps": "epsilon", "batch_size": "batch_size"},
        ),
        Attack("bim", "BIM", "Linf", "Kurakin et al., ICLR 2017 workshop", bim, _BALL),
        Attack("pgd", "PGD", "Linf", "Madry et al., ICLR 2018", pgd, {**_BALL, "seed": "seed"}),
        Attack(
            "cw", "Carlini-Wagner", "L2", "Carlini, Wagner, IEEE S&P 2017", carlini_wagner,
            {
                "steps": "cw_steps",
                "binary_search_steps": "cw_binary_search_steps",
                "confidence": "cw_confidence",
                "batch_size": "batch_size",
            },
        ),
        Attack("bim_l1", "BIM (L1)", "L1", "Rauber et al., foolbox, 2017", bim_l1, _BALL),
        Attack("bim_l2", "BIM (L2)", "L2", "Rauber et al., foolbox, 2017", bim_l2, _BALL),
    )
}  # fmt: skip
"""Attack id -> attack. A new attack is a function and an entry here."""


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
    seconds : dict of str to float
        Wall time of each attack.
    """

    images: np.ndarray
    labels: np.ndarray
    source: np.ndarray
    attack: np.ndarray
    success: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)

    def save(self, folder: str | Path, split: str) -> None:
        """Write ``{x,y,source,attack,success}_adv_<split>.npy`` to `folder`."""
        arrays = {"x": self.images, "y": self.labels, "source": self.source}
        arrays |= {"attack": self.attack, "success": self.success}
        for name, array in arrays.items():
            with atomic(Path(folder) / f"{name}_adv_{split}.npy") as path:
                np.save(path, array)


def make_adversarials(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    attacks: Sequence[str],
    n: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Adversarials:
    """Make `n` adversarial inputs as the study does.

    `n` images are drawn without replacement and shared out evenly over the attacks (the first
    ones take what is left over), so no image is used twice.

    Parameters
    ----------
    model, images, labels
        See the module.
    attacks : sequence of str
        Ids from `ATTACKS`.
    n : int, default=None
        How many; None for as many as there are images.
    seed : int, default=0
        Of the draw and of `pgd`'s start.
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
    images, labels = _checked(model, images, labels, 1)
    n = len(images) if n is None else n
    if not len(attacks) <= n <= len(images):
        raise ValueError(
            f"n: expected from {len(attacks)} (one for each attack) to {len(images)} (the number "
            f"of images), got {n}"
        )
    source = np.random.default_rng([seed, 21]).choice(len(images), n, replace=False)
    shares = np.array_split(source, len(attacks))
    made, seconds, options = [], {}, {**options, "seed": seed}
    for attack, share in zip(attacks, shares, strict=True):
        entry = ATTACKS[attack]
        chosen = {own: options[name] for own, name in entry.options.items() if name in options}
        began = time.perf_counter()
        made.append(entry.function(model, images[share], labels[share], **chosen))
        seconds[attack] = time.perf_counter() - began
    adversarial = np.concatenate(made)
    return Adversarials(
        images=adversarial,
        labels=labels[source],
        source=source,
        attack=np.repeat(np.array(attacks, dtype=np.str_), [len(share) for share in shares]),
        success=predict(model, adversarial).argmax(axis=1) != labels[source],
        seconds=seconds,
    )


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
        mean and largest in L-infinity, mean in L1; ``seconds_per_1000`` images, which include the
        compilation (a second or so) where the attack was the first of its kind on this model.
    """
    import pandas as pd

    clean = np.asarray(images)[adversarials.source]
    right = predict(model, clean).argmax(axis=1) == adversarials.labels
    change = (adversarials.images - clean).reshape(len(clean), -1)
    l1, l2 = np.abs(change).sum(axis=1), np.linalg.norm(change, axis=1)
    linf = np.abs(change).max(axis=1)
    rows = []
    for attack, seconds in adversarials.seconds.items():
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
                "seconds_per_1000": 1000 * seconds / own.sum(),
            }
        )
    return pd.DataFrame(rows)


def _checked(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """`images` as float32 and `labels` as int64; ValueError if either is not what it should be."""
    images, labels = check_images(model, images), np.asarray(labels)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"images: expected float32 in [0, 1], got {images.dtype}; divide integers by 255"
        )
    _check_range("images", images)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels: expected integers of shape ({len(images)},), got {labels.dtype} of shape "
            f"{labels.shape}; one-hot labels: pass labels.argmax(axis=1)"
        )
    classes = model.outputs[0].shape[-1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels: expected 0 to {classes - 1}, as the model has {classes} classes, got "
            f"{labels.min()} to {labels.max()}"
        )
    _at_least("batch_size", batch_size, 1)
    return images.astype(np.float32, copy=False), labels.astype(np.int64, copy=False)


def _check_range(name: str, images: np.ndarray) -> None:
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN fails too
        raise ValueError(
            f"{name}: expected values in [0, 1], got {images.min():.4g} to {images.max():.4g}"
        )


def _checked_result(images: np.ndarray) -> np.ndarray:
    """`images`, after the same check of range; NaN would come from the model's gradients."""
    _check_range("adversarial images (are the model's weights finite?)", images)
    return images


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def _ascend(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    norm: str,
    eps: float,
    steps: int,
    step_size: float | None,
    batch_size: int,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Climb the loss for `steps` steps within the `eps` ball; from a random point given `rng`."""
    images, labels = _checked(model, images, labels, batch_size)
    _at_least("eps", eps, 0)
    _at_least("steps", steps, 1)
    step_size = 2 * eps / steps if step_size is None else step_size
    _at_least("step_size", step_size, 0)
    climb = kept(model, f"ascend {norm}", lambda: compile_ascent(model, norm))
    result = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        batch = begin = images[part]
        if rng is not None:
            noise = rng.random(batch.shape, dtype=np.float32) * 2 - 1
            begin = np.clip(batch + np.float32(eps) * noise, 0, 1)
        result[part] = climb(batch, labels[part], begin, eps, step_size, steps).numpy()
    return _checked_result(result)
