"""What is on disk of a retraining curve, so that a stopped run goes on from the next point."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.core.files import checksum, read_json, sha256, write_json
from utils.machine.provenance import facts, now, numerical_versions
from utils.networks import files
from utils.retraining.results import results_table
from utils.retraining.selection import chosen_point

if TYPE_CHECKING:
    import keras

KEEP_MODELS = ("none", "best", "all")


class Curve:
    """Finished points of a curve and the models to keep, on disk after each point.

    Parameters
    ----------
    path : path, optional
        File of the points; None keeps them in memory alone. A file that is damaged, in whatever
        way, or whose signature is another, counts as absent.
    signature : str
        See `signature_of`.
    keep : {'none', 'best', 'all'}
        Models to keep; 'best' is the point that `utils.retraining.selection` chooses.
    models_dir : path, optional
        Folder for the models, ``<prefix>_p<point>.keras``; others of that name are removed.
    prefix : str
        Start of the models' names.

    Attributes
    ----------
    rows : dict of int to dict
        Point -> row of the results table.
    provenance : dict of str to dict
        The facts that a row names, see `utils.machine.provenance.facts`, with the time when the
        first point was started under them and that when the last one ended.
    """

    def __init__(
        self,
        path: str | Path | None,
        signature: str,
        keep: str,
        models_dir: str | Path | None,
        prefix: str,
    ) -> None:
        if keep not in KEEP_MODELS:
            raise ValueError(f"keep_models: expected one of {KEEP_MODELS}, got {keep!r}")
        if keep != "none" and not models_dir:
            raise ValueError(f"models_dir: expected a folder to keep models in (keep {keep!r})")
        self.path, self.signature, self.keep, self.prefix = path, signature, keep, prefix
        self.models_dir = Path(models_dir) if models_dir else None
        self._made: dict[str, Any] = {**facts(), "started": now()}
        self.rows, self.provenance, self.models = self._read()
        # A point whose model is wanted but gone or damaged is computed again.
        for point in [p for p in self._wanted() if not self._has_model(p)]:
            del self.rows[point]
        self._remove_models()

    def add(self, row: dict, model: keras.Model, images: np.ndarray | None = None) -> None:
        """Keep a finished point; the row is written last, so that it never lacks its model.

        A model is compared with its file on some of `images`, see `utils.networks.files.save`.
        """
        point = row["point"]
        self.rows[point] = row
        about = self.provenance.setdefault(self._made["id"], self._made)
        about["ended"] = now()
        if point in self._wanted():
            files.save(model, self._model_file(point), images)
            self.models[str(point)] = sha256(self._model_file(point))
        if self.path:
            content: dict[str, Any] = {"signature": self.signature}
            content["provenance"] = self.provenance
            content["models"] = self.models
            content["rows"] = list(self.rows.values())
            write_json(self.path, {"sha256": checksum(content), **content})
        self._remove_models()

    def _read(self) -> tuple[dict[int, dict], dict[str, dict], dict[str, str]]:
        """Rows, provenance, hashes of models, if the file is whole and of this signature."""
        nothing: tuple[dict, dict, dict] = {}, {}, {}
        if not self.path:
            return nothing
        try:
            content = _read_whole(self.path)
            if content["signature"] != self.signature:
                return nothing
            rows = results_table(content["rows"]).to_dict("records")
            models_of = content["models"]
        except (OSError, ValueError, KeyError):  # not there, damaged, or of an older version
            return nothing
        return {row["point"]: row for row in rows}, content["provenance"], models_of

    def _wanted(self) -> set[int]:
        """Points whose models are to be on disk."""
        retrained = {point for point in self.rows if point}
        if self.keep == "none" or not retrained:
            return set()
        return retrained if self.keep == "all" else {_chosen(self.rows.values())}

    def _has_model(self, point: int) -> bool:
        path = self._model_file(point)
        return path.is_file() and sha256(path) == self.models.get(str(point))

    def _model_file(self, point: int) -> Path:
        assert self.models_dir is not None  # models are kept
        return self.models_dir / f"{self.prefix}_p{point}.keras"

    def _remove_models(self) -> None:
        """Remove this curve's models that are not, or no longer, to be kept."""
        if self.models_dir:
            wanted = {self._model_file(point) for point in self._wanted()}
            for path in set(self.models_dir.glob(f"{self.prefix}_p*.keras")) - wanted:
                path.unlink()


def _chosen(rows: Iterable[dict]) -> int:
    """The point whose network is kept."""
    return chosen_point({**row, "val_accuracy": row["val_accuracy_robust"]} for row in rows)


def _read_whole(path: str | Path) -> dict:
    """What the file of a curve holds; ValueError unless it is what was written."""
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("sha256", None) != checksum(content):
        raise ValueError(f"{path}: expected the file of a curve, got a damaged or another one")
    return content


def provenance_of(paths: Iterable[str | Path]) -> dict[str, dict]:
    """What the rows of some curves were made under.

    Parameters
    ----------
    paths : iterable of path
        Files of curves.

    Returns
    -------
    dict of str to dict
        See `Curve`; with the first start and the last end in all of them.

    Raises
    ------
    OSError, ValueError
        If a file is missing or damaged.
    """
    found: dict[str, dict] = {}
    for path in paths:
        for name, about in _read_whole(path)["provenance"].items():
            same = found.setdefault(name, about)
            same["started"] = min(same["started"], about["started"])
            same["ended"] = max(same["ended"], about["ended"])
    return found


def signature_of(settings: dict, arrays: Iterable[np.ndarray], code: Mapping[str, str]) -> str:
    """Hash of all that decides a curve's results.

    Parameters
    ----------
    settings : dict
        Content that JSON can hold.
    arrays : iterable of ndarray
        Weights, inputs, labels and the like, in a fixed order.
    code : mapping of str to str
        Of `utils.core.code.fingerprint`; the versions of TensorFlow, Keras and NumPy count as well.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    decisive = [settings, dict(code), numerical_versions()]
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
