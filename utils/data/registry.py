"""Data sets: what they are, and the way from raw images to the arrays of later steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from utils.core.paths import Workspace
from utils.data.arrays import Splits
from utils.data.class_order import ordered_classes
from utils.data.raw.arrays import Arrays, from_parts
from utils.data.raw.base import Broken, Options, Raw, Shape, Tell
from utils.data.raw.downloads import DOWNLOADS, fetch
from utils.data.raw.folders import NONE
from utils.data.raw.sources import locate, open_raw
from utils.data.splitting import Plan, Shares, plan_split

STUDY_SHARES: Shares = (0.7, 0.2, 0.1)
"""Shares of training, validation and test images, as in the study."""


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry.

    The user's own images need none: ``run_all.py --raw NAME=PATH``.
    """

    id: str
    title: str
    class_names: tuple[str, ...] = ()
    """In the order of their numbers; empty: as found."""
    image_size: int = 0
    """Side in pixels; 0: as found."""
    color: str = "auto"
    """gray, rgb, or auto: as found."""
    shares: Shares = STUDY_SHARES
    parts: str = "own"
    """What becomes of official training and test images: they stay what they are ("own"), are
    split anew together ("joined"), or only the training images are used ("train")."""
    reader: Callable[[], Raw] | None = None
    """For a data set that ships with a package; others are found or downloaded."""
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Preset -> parameters that this data set sets otherwise than the preset does for all."""


def _presets(epochs: int, batch_size: int, n_adversarial: int, n_images: int = 0) -> dict:
    """The study's own settings of a data set, which trains and retrains alike, and fewer images."""
    training = {"epochs": epochs, "batch_size": batch_size}
    study = {**training, "retraining_epochs": epochs, "n_adversarial": n_adversarial}
    return {"study": study, "reduced": {**training, "n_images": n_images}}


def _read_digits() -> Arrays:
    from sklearn.datasets import load_digits  # slow to import, and needed for this data set only

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    raw = from_parts({"": (images, labels)}, "digits")
    return replace(raw, source="scikit-learn's load_digits")


_TRAFFIC_SIGNS = (
    "20 km/h", "30 km/h", "50 km/h", "60 km/h", "70 km/h", "80 km/h", "end of 80 km/h", "100 km/h",
    "120 km/h", "no passing", "no passing for trucks", "right of way", "priority road", "yield",
    "stop", "no vehicles", "no trucks", "no entry", "caution", "curve left", "curve right",
    "double curve", "bumpy road", "slippery road", "road narrows", "road work", "traffic signals",
    "pedestrians", "children", "bicycles", "ice or snow", "wild animals", "end of limits",
    "turn right", "turn left", "ahead only", "ahead or right", "ahead or left", "keep right",
    "keep left", "roundabout", "end of no passing", "end of no passing for trucks",
)  # fmt: skip
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_DIGITS = tuple(map(str, range(10)))

DATASETS: dict[str, Dataset] = {
    entry.id: entry
    for entry in [
        Dataset("digits", "handwritten digits, 8x8, in scikit-learn: no download",
                _DIGITS, reader=_read_digits),
        Dataset("gtsrb", "German traffic signs, 43 classes, 48x48; the official training images",
                _TRAFFIC_SIGNS, 48, "gray", (0.8, 0.1, 0.1), "train",
                presets=_presets(10, 64, 3921) | {
                    # The widest network and the most classes: smaller images, more gradient steps.
                    "reduced": {"n_images": 2000, "image_size": 32, "epochs": 20, "batch_size": 32},
                }),
        Dataset("intel", "natural scenes, 6 classes, 48x48; official test images",
                ("buildings", "forest", "glacier", "mountain", "sea", "street"),
                48, "gray", (0.8, 0.2, 0), "own", presets=_presets(20, 128, 3000, 3200)),
        Dataset("cifar", "CIFAR-10: animals and vehicles, 10 classes, 32x32",
                _CIFAR, 32, "gray", parts="joined", presets=_presets(20, 64, 6000, 4000)),
        Dataset("mnist", "handwritten digits, 10 classes, 28x28",
                _DIGITS, 28, "gray", parts="joined", presets=_presets(10, 64, 6999, 4500)),
        Dataset("fashion", "Fashion-MNIST: clothes, 10 classes, 28x28",
                _CLOTHES, 28, "gray", parts="joined", presets=_presets(10, 64, 6999, 4500)),
    ]
}  # fmt: skip


def _entry(dataset: str) -> Dataset:
    return DATASETS.get(dataset) or Dataset(dataset, "of the user's own")


def is_local(dataset: str, raw: str | Path, workspace: Workspace) -> bool:
    """Whether `read_raw` works without a download."""
    return _entry(dataset).reader is not None or locate(dataset, raw, workspace) is not None


def read_raw(
    dataset: str,
    raw: str | Path = "",
    workspace: Workspace | str | Path = "",
    tell: Tell = print,
    class_order: str = "number",
    leave_out: Sequence[str] = (),
    label_column: str = "",
    white: float = 0.0,
) -> Raw:
    """List the raw images of a data set; nothing is decoded yet.

    Parameters
    ----------
    dataset : str
        A key of `DATASETS`, or the user's own name.
    raw : str or Path, default=""
        A folder or file, understood by looking at it: class folders, also in ``train/``, ``val/``
        and ``test/``; an archive of these; an .npz file; IDX files. Empty: ``data/raw/<dataset>``
        in the workspace, or what a package ships, or a download to there.
    workspace : Workspace, str or Path, default=""
    tell : callable
        Gets lines of progress of a download.
    class_order : str, default="number"
        How folders of classes are numbered; see `utils.data.class_order.ordered_classes`.
    leave_out : sequence of str, default=()
        Names of folders and files that are left out; "none" takes all as they are, where a name
        such as ``masks`` would be left out or doubted.
    label_column : str, default=""
        Of a table with names and labels of images, if it is not clear which column has the labels.
    white : float, default=0.0
        The stored value that is white; 0: by content, see `utils.data.raw.scale.scale_of`.

    Raises
    ------
    ValueError
        If there is nothing, or it is damaged or something else; one line with what to do.
    """
    workspace = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    entry = _entry(dataset)
    path = locate(dataset, raw, workspace)
    if path is None and entry.reader:
        return entry.reader()
    if path is None and dataset not in DOWNLOADS:
        known = ", ".join(DATASETS)
        raise ValueError(
            f"data set {dataset!r}: not known ({known}), and no {workspace.raw(dataset)}; "
            f"bring it with --raw {dataset}=PATH"
        )
    if path is None:
        path = workspace.raw(dataset)
        fetch(dataset, path, tell)
    found = open_raw(path, Options(class_order, leave_out, label_column, white))
    if class_order != "number" and not found.class_folders:
        raise ValueError(
            f"class_order: got {class_order!r}, but the labels in {path.name} are numbers; number "
            "them otherwise"
        )
    notes = list(found.notes)
    if entry.parts == "train" and (found.parts == "train").any():
        left = np.count_nonzero(found.parts != "train")
        notes += [f"{left:,} official test images are not used, as in the study"] if left else []
        found = found.only(found.parts == "train")
    if entry.parts != "own":
        if len(set(found.parts)) > 1:
            notes.append("official training and test images are joined, as in the study")
        found = replace(found, parts=np.full(len(found.labels), ""))
    names = _class_names(entry, found, path)
    return replace(found, notes=notes, class_names=names, doubting=NONE not in leave_out)


def _class_names(entry: Dataset, found: Raw, path: Path) -> list[str]:
    """The registry's names for numbered classes, else those found; as many as there should be."""
    if not entry.class_names:
        return found.class_names
    if len(found.class_names) != len(entry.class_names):
        raise ValueError(
            f"raw images {path}: expected the {len(entry.class_names)} classes of {entry.id}, "
            f"got {len(found.class_names)}; for other images choose a name of your own"
        )
    if not all(name.isdecimal() for name in found.class_names):
        return found.class_names
    names = dict(zip(ordered_classes(found.class_names), entry.class_names, strict=True))
    return [names[number] for number in found.class_names]


def split(
    dataset: str,
    raw: Raw,
    shares: Sequence[float] = (),
    n_images: int = 0,
    split_by: str = "image",
    split_seed: int = 0,
) -> Plan:
    """Decide which image goes where; see `utils.data.splitting.plan_split`.

    `shares` of training, validation and test images may be in percent; empty: the data set's own.
    """
    return plan_split(raw, tuple(shares) or _entry(dataset).shares, n_images, split_by, split_seed)


def image_shape(dataset: str, raw: Raw, image_size: int = 0, color: str = "auto") -> Shape:
    """Height, width and channels that images get: as asked, else the data set's own, else as found.

    Found images of several sizes become squares of their median shorter side.
    """
    entry = _entry(dataset)
    side = image_size or entry.image_size
    color = entry.color if color == "auto" else color
    if side and color != "auto":
        height, width, channels = side, side, 1
    else:
        height, width, channels = raw.found_shape()
    channels = {"auto": channels, "gray": 1, "rgb": 3}[color]
    return (side or height, side or width, channels)


def read_splits(
    raw: Raw,
    plan: Plan,
    shape: Shape,
    max_broken: int = 0,
    tell: Tell | None = None,
    resize: str = "pillow",
) -> tuple[Splits, list[Broken]]:
    """Decode the images of a plan; see `utils.data.raw.base.Raw.read`.

    Returns
    -------
    splits : Splits
    broken : list of Broken
        Images that could not be decoded; they are in no split.

    Raises
    ------
    ValueError
        If more than `max_broken` images can't be decoded, or the arrays would not fit in memory.
    """
    import psutil

    positions = np.concatenate([plan.train, plan.val, plan.test])
    need, free = 4 * len(positions) * int(np.prod(shape)), psutil.virtual_memory().available
    if 1.5 * need > free:
        raise ValueError(
            f"image_size: {len(positions):,} images of {shape[0]}x{shape[1]}x{shape[2]} need "
            f"{1.5 * need / 2**30:.1f} GiB, {free / 2**30:.1f} are free; choose a smaller "
            "image_size or n_images"
        )
    images, broken = raw.read(positions, shape, max_broken, tell, resize)
    whole = np.ones(len(positions), bool)
    whole[list(broken)] = False
    arrays, start = [], 0
    for size in plan.sizes.values():  # views of one array: no second copy in memory
        part, kept = slice(start, start + size), whole[start : start + size]
        x, y = images[part], raw.labels[positions[part]]
        arrays += [x, y] if kept.all() else [x[kept], y[kept]]
        start += size
    return Splits(*arrays), list(broken.values())
