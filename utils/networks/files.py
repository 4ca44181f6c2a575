"""Save networks as ``.keras`` files, reproducibly, and load them safely."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.files import atomic
from utils.core.text import readable
from utils.networks import keras2
from utils.networks.copying import finalize, require_same, same_random_state
from utils.networks.safety import Refused, check

if TYPE_CHECKING:
    import keras
    import numpy as np

_HDF5 = b"\x89HDF\r\n\x1a\n"
_BEGINS = {".keras": b"PK", ".h5": _HDF5, ".hdf5": _HDF5}
"""How files of a kind begin: a zip archive, an HDF5 file."""


def save(model: keras.Model, path: str | Path, images: np.ndarray | None = None) -> None:
    """Write `model` as a ``.keras`` file, whole or not at all, and make sure that it is the model.

    Equal models give equal files, byte for byte, so that training again with the same result makes
    nothing stale that builds on it: the dates that Keras writes are left out, and the memory
    addresses that it takes for ids become 0, 1, 2, ...

    Parameters
    ----------
    model : keras.Model
    path : str or Path
        Ends in ``.keras``.
    images : ndarray of shape (n, height, width, channels), optional
        Images in [0, 1] on which the file, loaded again, must give what the model gives; without,
        random ones.

    Raises
    ------
    ValueError
        If the name ends otherwise, or the file gives other outputs.
    """
    if Path(path).suffix != ".keras":
        raise ValueError(f"model file: expected a name ending in .keras, got {str(path)!r}")
    with atomic(path) as temporary, io.BytesIO() as dated:
        model.save(temporary)
        dated.write(temporary.read_bytes())
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(temporary, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "metadata.json":
                    facts = json.loads(content)
                    facts.pop("date_saved", None)
                    content = json.dumps(facts).encode()
                elif name == "config.json":
                    ids = list(dict.fromkeys(re.findall(rb'"shared_object_id": (\d+)', content)))
                    for number, address in enumerate(ids):
                        content = content.replace(b": " + address, f": {number}".encode())
                new.writestr(zipfile.ZipInfo(name), content)
        require_same(model, _read(temporary), images, f"its file {path}, loaded again,")


def load(path: str | Path) -> keras.Model:
    """Read a model file without running code that it may carry.

    Parameters
    ----------
    path : str or Path
        A whole model as Keras saves it: ``.keras``, or the older ``.h5`` (also of Keras 2).

    Returns
    -------
    keras.Model
        Not compiled; see `utils.networks.architectures.compile_model`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, is damaged, needs code of its own (such as Lambda layers), reads
        other files, or unpacks to much more than its size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"model file: {path} does not exist")
    begin = b""
    if path.is_file():
        with open(path, "rb") as file:
            begin = file.read(8)
    suffix = path.suffix.lower()
    if not begin.startswith(_BEGINS.get(suffix, b"none")):
        raise ValueError(
            f"model file: expected a .keras or .h5 file as Keras saves it, got {path}; load the "
            "model with what made it and call model.save('model.keras')"
        )
    made_by = ""
    try:
        made_by = _made_by(path)
        keras2.check_kind(suffix, made_by)
        config = check(path)
        return _read(path, config if keras2.is_meant(made_by) else None)
    except keras2.NotRead as error:
        raise ValueError(f"model file: {path} {error}") from None
    except Refused as error:
        raise ValueError(
            f"model file: {path} cannot be loaded safely: it {readable(error, 300)}"
        ) from None
    except Exception as error:  # whatever a damaged file brings Keras or TensorFlow to raise
        text = str(error).strip() or type(error).__name__
        reason = text.partition(". ")[0].splitlines()[0]  # what is wrong, without Keras's advice
        if keras2.is_meant(made_by):
            raise ValueError(
                f"model file: {path} {keras2.refusal(made_by, readable(reason, 200))}"
            ) from error
        raise ValueError(
            f"model file: {path} cannot be loaded safely; it is damaged, holds weights alone, or "
            "has layers that run code of their own (Lambda, custom classes). Keras says: "
            f"{readable(reason)}"
        ) from error


def _read(path: Path, config: dict | None = None) -> keras.Model:
    """Read a file that was checked; with another configuration, if one is given."""
    import keras

    suffix = path.suffix.lower()
    with tempfile.TemporaryDirectory() as folder, same_random_state(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        if config or path.suffix != suffix:  # Keras looks at the suffix
            path = Path(shutil.copyfile(path, Path(folder) / f"model{suffix}"))
        if config:
            import h5py

            with h5py.File(path, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    finalize(model)
    return model


def _made_by(path: Path) -> str:
    """The version of Keras that wrote a file, as the file has it; empty if it does not."""
    import h5py

    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            if archive.getinfo("metadata.json").file_size > 2**20:
                raise Refused("holds metadata of more than 1 MiB")
            version: Any = json.loads(archive.read("metadata.json")).get("keras_version", "")
    else:
        with h5py.File(path) as file:
            version = file.attrs.get("keras_version", "")
    version = version.decode() if isinstance(version, bytes) else version
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version) else ""
