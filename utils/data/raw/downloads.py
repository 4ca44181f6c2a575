"""Downloads of the study's data sets, into the workspace, where there are no raw images yet."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from utils.data.raw.base import Tell

GTSRB_URL = (
    "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
    "GTSRB_Final_Training_Images.zip"
)
GTSRB_MD5 = "f33fd80ac59bff73c82d25ab499e03a3"
INTEL_KAGGLE = "puneet6060/intel-image-classification"


class Download(NamedTuple):
    """How a data set comes into a folder, and where a person finds it."""

    into: Callable[[Path, Tell], None]
    where: str


def fetch(dataset: str, folder: Path, tell: Tell) -> None:
    """Download a data set into `folder`: whole or not at all.

    Raises
    ------
    ValueError
        If that is not possible; the one line names what was looked for, where to get it and where
        to put it.
    """
    download = DOWNLOADS[dataset]
    unfinished = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    missing = next(p for p in folder.parents if p.exists())  # what is made here, below this
    try:
        unfinished.mkdir(parents=True)
        tell(f"downloading {dataset}")
        download.into(unfinished, tell)
        unfinished.rename(folder)
    except Exception as error:  # each of the libraries has its own for "no internet"
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{dataset}: no raw images in {folder} and no download ({reason}); "
            f"get {download.where} and put it there, or give its path with --raw {dataset}=PATH"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        for parent in folder.parents:
            if parent == missing or any(parent.iterdir()):
                break
            parent.rmdir()


def download_file(url: str, path: Path, md5: str, tell: Tell) -> None:
    """Download one file and compare its checksum."""
    digest, last = hashlib.md5(usedforsecurity=False), time.monotonic()
    with urllib.request.urlopen(url, timeout=30) as response, open(path, "wb") as file:
        whole = int(response.headers.get("Content-Length") or 0)
        while block := response.read(2**20):
            digest.update(block)
            file.write(block)
            if time.monotonic() - last > 3:
                tell(f"{file.tell() / 2**20:,.0f} of {whole / 2**20:,.0f} MiB downloaded")
                last = time.monotonic()
    if digest.hexdigest() != md5:
        raise ValueError(f"the file came with MD5 {digest.hexdigest()}, expected {md5}")


def _keras(name: str) -> Callable[[Path, Tell], None]:
    """What Keras downloads, kept as an .npz file with its keys.

    In a process of its own: importing Keras is slow, noisy and for good. It looks into Keras's
    folder in the home, where the data set may be already, but heeds no settings there.
    """
    script = f"""
import sys, keras, numpy
keras.config.set_image_data_format("channels_last")
from keras.datasets.{name} import load_data
(a, b), (c, d) = load_data()
numpy.savez_compressed(sys.argv[1], x_train=a, y_train=b, x_test=c, y_test=d)
"""

    def into(folder: Path, tell: Tell) -> None:
        command = [sys.executable, "-c", script, str(folder / f"{name}.npz")]
        home = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
        result = subprocess.run(command, env=home, stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            raise ValueError((result.stderr.strip().splitlines() or ["Keras failed"])[-1])

    return into


def _gtsrb(folder: Path, tell: Tell) -> None:
    download_file(GTSRB_URL, folder / GTSRB_URL.rpartition("/")[2], GTSRB_MD5, tell)


def _intel(folder: Path, tell: Tell) -> None:
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise ValueError("package kagglehub is not installed") from None
    shutil.copytree(kagglehub.dataset_download(INTEL_KAGGLE), folder, dirs_exist_ok=True)


DOWNLOADS: Mapping[str, Download] = {
    "gtsrb": Download(_gtsrb, f"GTSRB_Final_Training_Images.zip from {GTSRB_URL}"),
    "intel": Download(_intel, f"the archive of https://www.kaggle.com/datasets/{INTEL_KAGGLE}"),
    "cifar": Download(
        _keras("cifar10"),
        "its images in class folders, or on another machine keras.datasets.cifar10.load_data() "
        "(https://keras.io/api/datasets/cifar10) and save x_train, y_train, x_test, y_test with "
        "numpy.savez as cifar.npz",
    ),
    "mnist": Download(
        _keras("mnist"),
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    ),
    "fashion": Download(
        _keras("fashion_mnist"),
        "the four .gz files of https://github.com/zalandoresearch/fashion-mnist",
    ),
}  # fmt: skip
