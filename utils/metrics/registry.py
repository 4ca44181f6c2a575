"""The guidance metrics: a registry, and one call that scores every input with each of them.

Adding a metric is one entry in ``METRICS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.core.seeds import rng
from utils.machine.meter import Meter
from utils.metrics.coverage import neuron_coverage
from utils.metrics.surprise import dsa, lsa
from utils.metrics.uncertainty import deepgini, softmax_entropy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BASELINES", "METRICS", "Metric", "ScoringInputs", "score_all"]


@dataclass(frozen=True)
class ScoringInputs:
    """What a guidance metric may look at: the outcome of one forward pass over each input.

    Parameters
    ----------
    train_traces, train_probabilities : ndarray of shape (n_train, neurons) and (n_train, classes)
        Of the training inputs.
    adv_traces, adv_probabilities : ndarray of shape (n_adv, neurons) and (n_adv, classes)
        Of the adversarial inputs.
    seed : int, default=0
        The run's seed.
    threshold : float, default=0.2
        Of an active neuron, for neuron coverage.
    variance_threshold : float, default=1e-5
        Of a neuron that LSA leaves out.
    exclude_self : bool, default=False
        Whether DSA compares a training input with the other training inputs only; see ``dsa``.
    """

    train_traces: np.ndarray
    train_probabilities: np.ndarray
    adv_traces: np.ndarray
    adv_probabilities: np.ndarray
    seed: int = 0
    threshold: float = 0.2
    variance_threshold: float = 1e-5
    exclude_self: bool = False

    def __post_init__(self) -> None:
        for part in ("train", "adv"):
            traces, probabilities = (
                getattr(self, f"{part}_{name}") for name in ("traces", "probabilities")
            )
            if len(traces) != len(probabilities):
                raise ValueError(
                    f"{part}_probabilities: expected one row for each of the {len(traces)} rows "
                    f"of {part}_traces, got {len(probabilities)}"
                )

    @cached_property
    def traces(self) -> np.ndarray:
        """Of all inputs: training inputs first, then adversarial inputs."""
        return np.concatenate([self.train_traces, self.adv_traces])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of all inputs: training inputs first, then adversarial inputs."""
        return np.concatenate([self.train_probabilities, self.adv_probabilities])

    @property
    def classes(self) -> np.ndarray:
        """Predicted classes of all inputs."""
        return self.probabilities.argmax(axis=1)

    @property
    def train_classes(self) -> np.ndarray:
        """Predicted classes of the training inputs."""
        return self.train_probabilities.argmax(axis=1)


@dataclass(frozen=True)
class Metric:
    """A guidance metric.

    Parameters
    ----------
    id, name, reference : str
        The id names files and columns; the name is for people; the reference is its source.
    compute : callable
        ``(ScoringInputs, notes) -> scores``: float64 of shape (n_train + n_adv,), finite, higher =
        retrain first. It may append sentences for the report to the list `notes`.
    mixed : bool, default=False
        Whether it says something only where training and adversarial inputs are ordered together.
    looks_at : {"scored", "training", "nothing"}, default="scored"
        Whose forward pass it takes: that of the inputs that it scores, that of the training inputs
        as well, with which it compares them, or none.
    """

    id: str
    name: str
    reference: str
    compute: Callable[[ScoringInputs, list[str]], np.ndarray]
    mixed: bool = False
    looks_at: str = "scored"

    def forward_parts(self, ordered: Iterable[str]) -> list[str]:
        """The parts, of ``train`` and ``adv_train``, that a forward pass must see to score some."""
        parts: dict[str, set[str]] = {"nothing": set(), "scored": {*ordered}}
        parts["training"] = parts["scored"] | {"train"}
        return sorted(parts[self.looks_at])


def _nc(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return neuron_coverage(inputs.traces, inputs.threshold)


def _lsa(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return lsa(
        inputs.train_traces,
        inputs.train_classes,
        inputs.traces,
        inputs.classes,
        variance_threshold=inputs.variance_threshold,
        notes=notes,
    )


def _dsa(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return dsa(
        inputs.train_traces,
        inputs.train_classes,
        inputs.traces,
        inputs.classes,
        exclude_self=inputs.exclude_self,
        notes=notes,
    )


def _deepgini(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return deepgini(inputs.probabilities)


def _softmax_entropy(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return softmax_entropy(inputs.probabilities)


def _random(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    return rng(inputs.seed, "random scores").random(len(inputs.probabilities))


def _adversarial_first(inputs: ScoringInputs, notes: list[str]) -> np.ndarray:
    scores = rng(inputs.seed, "adversarial first").random(len(inputs.probabilities))
    scores[len(inputs.train_probabilities) :] += 1
    return scores


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric("nc", "Neuron coverage", "Pei et al., DeepXplore, SOSP 2017", _nc),
        Metric(
            "lsa",
            "Likelihood-based surprise adequacy",
            "Kim, Feldt and Yoo, ICSE 2019",
            _lsa,
            looks_at="training",
        ),
        Metric(
            "dsa",
            "Distance-based surprise adequacy",
            "Kim, Feldt and Yoo, ICSE 2019",
            _dsa,
            looks_at="training",
        ),
        Metric("deepgini", "DeepGini", "Feng et al., ISSTA 2020", _deepgini),
        Metric(
            "softmax_entropy", "Softmax entropy", "Weiss and Tonella, ISSTA 2022", _softmax_entropy
        ),
        Metric("random", "Random", "baseline", _random, looks_at="nothing"),
        Metric(
            "adversarial_first",
            "Adversarial first",
            "baseline: adversarial inputs, then training inputs, each at random",
            _adversarial_first,
            mixed=True,
            looks_at="nothing",
        ),
    )
}
"""Guidance metrics by id."""

BASELINES = ("random", "adversarial_first")
"""Orders that no score of a network decides: what the others are held against."""


def score_all(
    metrics: Iterable[str],
    train_traces: np.ndarray,
    train_probabilities: np.ndarray,
    adv_traces: np.ndarray,
    adv_probabilities: np.ndarray,
    seed: int = 0,
    **options: Any,
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Score training and adversarial inputs with several guidance metrics.

    Parameters
    ----------
    metrics : iterable of str
        Ids from ``METRICS``.
    train_traces, train_probabilities : ndarray of shape (n_train, neurons) and (n_train, classes)
        Activation traces and class probabilities of the training inputs.
    adv_traces, adv_probabilities : ndarray of shape (n_adv, neurons) and (n_adv, classes)
        The same of the adversarial inputs.
    seed : int, default=0
        The run's seed, for `random`.
    **options
        Further fields of ``ScoringInputs``: `threshold`, `variance_threshold`, `exclude_self`.

    Returns
    -------
    scores : dict of str to ndarray of shape (n_train + n_adv,), dtype=float64
        By metric id; training inputs first, then adversarial inputs. Higher = retrain first.
    table : DataFrame
        Columns metric, name, seconds and energy_kwh (of computing the scores of training and
        adversarial inputs together, without the forward pass), notes.

    Raises
    ------
    ValueError
        If a metric is unknown, or the arrays do not fit together.
    """
    import pandas as pd  # here, so that reading the registry stays fast

    metrics = list(metrics)
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise ValueError(f"metrics: expected some of {', '.join(METRICS)}, got {unknown[0]!r}")
    inputs = ScoringInputs(
        train_traces, train_probabilities, adv_traces, adv_probabilities, seed, **options
    )
    scores, rows, meter = {}, [], Meter()
    for metric in (METRICS[metric] for metric in metrics):
        notes: list[str] = []
        with meter.measure() as usage:
            scores[metric.id] = metric.compute(inputs, notes)
        cost = usage.wall_seconds, usage.energy_kwh
        rows.append((metric.id, metric.name, *cost, "; ".join(notes)))
    return scores, pd.DataFrame(rows, columns=["metric", "name", "seconds", "energy_kwh", "notes"])
