"""Save networks as ``.keras`` files, reproducibly, and load them safely."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from utils.text import readable
from utils.workspace import atomic

if TYPE_CHECKING:
    import h5py
    import keras


_BEGINS = {".keras": b"PK", ".h5": b"\x89HDF\r\n\x1a\n"}
"""How files of a kind begin: a zip archive, an HDF5 file."""


def save(model: keras.Model, path: str | Path) -> None:
    """Write `model` as a ``.keras`` file, whole or not at all.

    Equal models give equal files, byte for byte, so that training again with the same result makes
    nothing stale that builds on it: the dates that Keras writes are left out, and the memory
    addresses that it takes for ids become 0, 1, 2, ...
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


def load(path: str | Path) -> keras.Model:
    """Read a model file without running code that it may carry.

    Parameters
    ----------
    path : str or Path
        A whole model as Keras saves it: ``.keras``, or the older ``.h5``.

    Returns
    -------
    keras.Model
        Not compiled; see `utils.models.compile_model`.

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
    if not begin.startswith(_BEGINS.get(path.suffix, b"none")):
        raise ValueError(
            f"model file: expected a .keras or .h5 file as Keras saves it, got {path}; load the "
            "model with what made it and call model.save('model.keras')"
        )
    import keras

    try:
        _check(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except _Refused as error:
        raise ValueError(
            f"model file: {path} cannot be loaded safely: it {readable(error, 300)}"
        ) from None
    except Exception as error:  # whatever a damaged file brings Keras or TensorFlow to raise
        text = str(error).strip() or type(error).__name__
        reason = text.partition(". ")[0].splitlines()[0]  # what is wrong, without Keras's advice
        raise ValueError(
            f"model file: {path} cannot be loaded safely; it is damaged, holds weights alone, or "
            "has layers that run code of their own (Lambda, custom classes). Keras says: "
            f"{readable(reason)}"
        ) from error


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
_NOT_TAKEN = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "IndexLookup",
              "StringLookup", "IntegerLookup", "TextVectorization", "__lambda__"}  # fmt: skip
"""But not these, which run code or read other files."""


class _Refused(ValueError):
    """A model file that is whole, but not safe."""


def _check(path: Path) -> None:
    """Look at a model file before Keras does; what Keras guards itself is guarded twice."""
    import h5py

    most = max(2**26, 10 * path.stat().st_size)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            _check_arrays(file, most)
            if text := file.attrs.get("model_config"):  # without, Keras says so
                _check_config(text, most)
        return
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


def _check_config(text: str | bytes, most: int) -> None:
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
    _at_most(most, _size_of_weights(config))


def _size_of_weights(config: dict) -> int:
    """Bytes of the weights that a model asks for: Keras would make them, however few there are."""
    import keras
    from keras.src.backend.common import global_state

    kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
    state = random.getstate()  # layers draw seeds here, and later draws must not change
    try:
        with keras.StatelessScope(initialize_variables=False):  # shapes alone
            model = kind.from_config(config["config"])
            if not model.built and "build_config" in config:
                model.build_from_config(config["build_config"])
    finally:
        random.setstate(state)
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
