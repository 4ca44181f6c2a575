"""Save networks as ``.keras`` files, reproducibly, and load them safely."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from utils.workspace import atomic

if TYPE_CHECKING:
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
        If it is no such file, is damaged, or needs code of its own (such as Lambda layers).
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
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged file brings Keras or TensorFlow to raise
        text = str(error).strip() or type(error).__name__
        reason = text.partition(". ")[0].splitlines()[0]  # what is wrong, without Keras's advice
        raise ValueError(
            f"model file: {path} cannot be loaded safely; it is damaged, holds weights alone, or "
            f"has layers that run code of their own (Lambda, custom classes). Keras says: {reason}"
        ) from error
