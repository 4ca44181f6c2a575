"""Save networks as ``.keras`` files, reproducibly, and load them safely."""

from __future__ import annotations

import copy
import io
import json
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.files import atomic
from utils.core.text import readable
from utils.networks import keras2
from utils.networks.copying import finalize, require_same, same_random_state

if TYPE_CHECKING:
    import h5py
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
        config = _check(path)
        return _read(path, config if keras2.is_meant(made_by) else None)
    except keras2.NotRead as error:
        raise ValueError(f"model file: {path} {error}") from None
    except _Refused as error:
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
    """The version of Keras that wrote a file, as the file says; empty if it does not."""
    import h5py

    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            if archive.getinfo("metadata.json").file_size > 2**20:
                raise _Refused("holds metadata of more than 1 MiB")
            version: Any = json.loads(archive.read("metadata.json")).get("keras_version", "")
    else:
        with h5py.File(path) as file:
            version = file.attrs.get("keras_version", "")
    version = version.decode() if isinstance(version, bytes) else version
    return version if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,40}", version) else ""


_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
"""What Keras writes into a ``.keras`` file; it would unpack anything more to disk."""
_MODELS = ("Sequential", "Functional", "Model")
_MODULES = {
    "class": re.compile(
        r"keras|keras(\.src)?\.(activations|constraints|dtype_policies|initializers|layers|losses|"
        r"metrics|models|ops|optimizers|quantizers|random|regularizers)(\..+)?|"
        r"keras\.src\.applications\..+"
    ),
    "function": re.compile(
        r"builtins|keras(\.src)?\.(activations|initializers|losses|metrics|ops)(\..+)?"
    ),
}
"""What a model may name is in these modules: it computes, and does nothing else."""
_NOT_TAKEN = {
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "IndexLookup",
    "StringLookup",
    "IntegerLookup",
    "TextVectorization",
    "__lambda__",
}
"""But not these, which run code or read other files."""


class _Refused(ValueError):
    """A model file that is whole, but not safe."""


def _check(path: Path) -> dict | None:
    """Look at a model file before Keras does; what Keras guards itself is guarded twice.

    Returns the configuration of an HDF5 file, in the terms of today's Keras.
    """
    import h5py

    most = max(2**26, 10 * path.stat().st_size)
    if path.suffix.lower() != ".keras":
        with h5py.File(path) as file:
            _check_arrays(file, most)
            text = file.attrs.get("model_config")
            return _check_config(text, most) if text else None  # without, Keras says so
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if strange := sorted(set(names) - _MEMBERS):
            raise _Refused(f"holds {strange[0]}, which is no part of a model")
        if len(names) > len(set(names)):
            raise _Refused("holds a part twice")
        _at_most(most, sum(info.file_size for info in archive.infolist()))
        _check_config(archive.read("config.json"), most)
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            _check_arrays(file, most)
    return None


def _check_config(text: str | bytes, most: int) -> dict:
    """Every class and function that a model names must be one of Keras's that only computes."""
    config = json.loads(text)
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS:
        raise _Refused(f"holds no model that is one of {', '.join(_MODELS)}")
    config.pop("compile_config", None)  # optimizer and loss are not used
    pending = [config]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if "class_name" in part and not _is_taken(part):
                named = readable(f"{part.get('module')}.{part['class_name']}", 100)
                raise _Refused(
                    f"asks for {named}; taken are only layers of Keras that run no code of the "
                    "file and read no other file"
                )
            pending += part.values()
            part.pop("compile_config", None)  # optimizers have no place where weights are counted
        elif isinstance(part, list):
            pending += part
    config = keras2.in_new_terms(config)
    _at_most(most, _size_of_weights(config))
    return config


def _size_of_weights(config: dict) -> int:
    """Bytes of the weights that a model asks for: Keras would make them, however few there are."""
    import keras
    from keras.src.backend.common import global_state

    kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
    try:
        with same_random_state(), keras.StatelessScope(initialize_variables=False):  # shapes alone
            model = kind.from_config(copy.deepcopy(config["config"]))
            if not model.built and "build_config" in config:
                model.build_from_config(config["build_config"])
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])
    return 4 * model.count_params() if model.built else 0


def _is_taken(part: Mapping) -> bool:
    name, module = part["class_name"], part.get("module")
    if not (isinstance(name, str) and isinstance(module, str | None)) or name in _NOT_TAKEN:
        return False
    kind = "function" if name == "function" else "class"
    named = kind == "function" or re.fullmatch(r"[A-Z]\w*|__\w+__", name)
    return bool(named and (module is None or _MODULES[kind].fullmatch(module)))


def _check_arrays(file: h5py.File, most: int) -> None:
    """Arrays must be in the file itself, and not unpack to much more than it."""
    import h5py

    def strange(name: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    def check_array(name: str, array: object) -> None:
        nonlocal total
        if isinstance(array, h5py.Dataset):
            if array.external or array.is_virtual:
                raise _Refused(f"reads another file at {name}")
            total += array.nbytes
            _at_most(most, total)

    total = 0
    if name := file.visititems_links(strange):  # a callback of it must not raise
        raise _Refused(f"links to something else at {name}")
    file.visititems(check_array)


def _at_most(most: int, size: int) -> None:
    if size > most:
        raise _Refused(f"unpacks to more than {most / 2**20:,.0f} MiB, far more than its size")
