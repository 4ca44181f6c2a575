"""What a model file may hold: checked before Keras reads it, which would run or unpack more."""

from __future__ import annotations

import copy
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.text import readable
from utils.networks import keras2
from utils.networks.copying import same_random_state

if TYPE_CHECKING:
    import h5py


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


class Refused(ValueError):
    """A model file that is whole, but not safe."""


def check(path: Path) -> dict | None:
    """Look at a model file before Keras does; what Keras guards itself is guarded twice.

    Returns the configuration of an HDF5 file, in the terms of today's Keras.
    """
    import h5py

    most = max(2**26, 10 * path.stat().st_size)
    if path.suffix.lower() != ".keras":
        with h5py.File(path) as file:
            _check_arrays(file, most)
            text = file.attrs.get("model_config")
            return _check_config(text, most) if text else None  # without, Keras refuses it
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if strange := sorted(set(names) - _MEMBERS):
            raise Refused(f"holds {strange[0]}, which is no part of a model")
        if len(names) > len(set(names)):
            raise Refused("holds a part twice")
        _at_most(most, sum(info.file_size for info in archive.infolist()))
        _check_config(archive.read("config.json"), most)
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            _check_arrays(file, most)
    return None


def _check_config(text: str | bytes, most: int) -> dict:
    """Every class and function that a model names must be one of Keras's that only computes."""
    config = json.loads(text)
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS:
        raise Refused(f"holds no model that is one of {', '.join(_MODELS)}")
    config.pop("compile_config", None)  # optimizer and loss are not used
    pending = [config]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if "class_name" in part and not _is_taken(part):
                named = readable(f"{part.get('module')}.{part['class_name']}", 100)
                raise Refused(
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
    """Bytes of the weights that a model asks for: Keras would make them, however few there are.

    Keras lists variables without a value, and has no public way to empty that list: left there, the
    next scope that ends would make them all.
    """
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

    total = 0

    def strange(name: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    def check_array(name: str, array: object) -> None:
        nonlocal total
        if isinstance(array, h5py.Dataset):
            if array.external or array.is_virtual:
                raise Refused(f"reads another file at {name}")
            total += array.nbytes
            _at_most(most, total)

    if name := file.visititems_links(strange):  # a callback of it must not raise
        raise Refused(f"links to something else at {name}")
    file.visititems(check_array)


def _at_most(most: int, size: int) -> None:
    if size > most:
        raise Refused(f"unpacks to more than {most / 2**20:,.0f} MiB, far more than its size")
