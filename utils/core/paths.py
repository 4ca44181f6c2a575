"""Every path of a run."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: where ``run_all.py``, ``notebooks/`` and ``utils/`` are."""

TEMPLATES = ROOT / "notebooks"


class Workspace:
    """The folder that holds ``data/``, ``models/`` and ``reports/`` of one experiment.

    Parameters
    ----------
    root : str or Path, default=""
        The folder; a relative path is taken from the checkout, and ``""`` is the checkout itself.
        What depends on the seed of a run is under ``seed-<n>/``, so repeated runs never
        overwrite each other.
    """

    def __init__(self, root: str | Path = "") -> None:
        self.root = (ROOT / root).resolve()

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @property
    def parameter(self) -> str:
        """What makes this workspace again: relative within the checkout, so it can be moved."""
        inside = self.root.is_relative_to(ROOT)
        return self.root.relative_to(ROOT).as_posix() if inside else str(self.root)

    def variant(self, name: str) -> Workspace:
        """A workspace for the same run with one setting changed, such as ``epsilon-0.1``."""
        return Workspace(self.reports_root / "variants" / name)

    @property
    def base(self) -> Workspace | None:
        """The workspace of the run that this one is a `variant` of, or None."""
        variants = self.root.parent
        is_variant = (variants.parent.name, variants.name) == ("reports", "variants")
        return Workspace(variants.parent.parent) if is_variant else None

    def raw(self, dataset: str) -> Path:
        """Raw files of a data set, as the user brought them or as they were downloaded."""
        return (self.base or self).root / "data" / "raw" / dataset

    def data(self, dataset: str) -> Path:
        """The six arrays of a data set and its ``dataset.json``."""
        return self.root / "data" / dataset

    def adversarial(self, dataset: str, seed: int) -> Path:
        """Adversarial training, validation and test inputs."""
        return self.data(dataset) / f"seed-{seed}" / "adversarial"

    def metrics(self, dataset: str, seed: int) -> Path:
        """Scores of the guidance metrics."""
        return self.data(dataset) / f"seed-{seed}" / "metrics"

    def curve(self, dataset: str, seed: int, configuration: int, metric: str) -> Path:
        """Finished data points of one retraining curve, from which a stopped run goes on."""
        return self.data(dataset) / f"seed-{seed}" / "curves" / f"c{configuration}_{metric}.json"

    def models(self, dataset: str, seed: int) -> Path:
        """The original model, and retrained ones if they are kept."""
        return self.root / "models" / dataset / f"seed-{seed}"

    def original_model(self, dataset: str, seed: int) -> Path:
        """The original model."""
        return self.models(dataset, seed) / "original.keras"

    def original_accuracy(self, dataset: str, seed: int) -> Path:
        """How good the original model was when it was made."""
        return self.models(dataset, seed) / "original.json"

    @property
    def reports_root(self) -> Path:
        """The index page, the comparison and a folder for each data set."""
        return self.root / "reports"

    def reports(self, dataset: str = "", seed: int | None = None) -> Path:
        """Executed notebooks, their pages and tables; without a seed: what covers all seeds."""
        folder = self.reports_root / dataset
        return folder if seed is None else folder / f"seed-{seed}"

    def figures(self, dataset: str = "", seed: int | None = None) -> Path:
        """Figures, as .svg, .pdf and .png."""
        return self.reports(dataset, seed) / "figures"

    def results(self, dataset: str, seed: int, configuration: int, part: str = "") -> Path:
        """The results table of a configuration, or that of a part of its metrics."""
        name = "_".join(filter(None, (dataset, f"c{configuration}", part, "results.csv")))
        return self.reports(dataset, seed) / name

    def results_of(
        self, datasets: Iterable[str], seeds: Iterable[int], configurations: Iterable[int]
    ) -> list[Path]:
        """The results tables of several data sets, seeds and configurations."""
        return [self.results(*cell) for cell in product(datasets, seeds, configurations)]

    def fresh_attack(self, dataset: str, seed: int, configuration: int) -> Path:
        """Accuracies of a configuration's chosen networks under a fresh attack."""
        return self.reports(dataset, seed) / f"{dataset}_c{configuration}_fresh_attack.csv"

    def expand(self, patterns: Iterable[str]) -> list[Path]:
        """The files that match patterns from the root; unfinished ones start with a dot."""
        found = [path for pattern in patterns for path in sorted(self.root.glob(pattern))]
        return [path for path in found if not path.name.startswith(".")]

    def relative(self, path: str | Path) -> str:
        """``path`` as seen from the workspace's root, with forward slashes."""
        return Path(path).relative_to(self.root).as_posix()
