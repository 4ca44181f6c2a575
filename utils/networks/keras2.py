"""Model files that Keras 2 wrote: what Keras 3 reads of them, what it does not, and why.

An HDF5 file of Keras 2 is read if its layers mean the same in Keras 3. Some differ by a word alone;
they are written anew here. The ``.keras`` format of 2.12 to 2.15 keeps weights under other names.
"""

from __future__ import annotations

import copy
from typing import Any

_NOT_USED = {
    "DepthwiseConv": ("groups",),
    "SeparableConv": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "Conv1DTranspose": ("groups",),
    "Conv2DTranspose": ("groups",),
    "Conv3DTranspose": ("groups",),
}
"""Layers, by how their names begin, and what Keras 2 writes for them though they never used it;
Keras 3 does not know it there."""
_RESCALING = {
    "math.multiply": lambda y: (y, 0.0),
    "math.truediv": lambda y: (1 / y, 0.0),
    "math.add": lambda y: (1.0, y),
    "__operators__.add": lambda y: (1.0, y),
    "math.subtract": lambda y: (1.0, -y),
}
"""Operations with a number, such as ``x / 127.5``, as scale and offset of a `Rescaling` layer."""


class NotRead(ValueError):
    """A file of Keras 2 that can't be read."""


def is_meant(version: str) -> bool:
    """Whether a version of Keras, as a file names it, is older than 3."""
    return version.partition(".")[0] in {"0", "1", "2"}


def check_kind(suffix: str, version: str) -> None:
    """Refuse a ``.keras`` file of Keras 2."""
    if suffix == ".keras" and is_meant(version):
        raise NotRead(
            f"was written by Keras {version}, whose .keras files Keras 3 does not read (weights "
            "stand elsewhere in them); load it with that Keras (tf_keras, or TensorFlow before "
            "2.16) and call model.save('model.h5')"
        )


def refusal(version: str, reason: str) -> str:
    """Why an HDF5 file of Keras 2 is not read, to follow the name of the file."""
    return (
        f"was written by Keras {version} and has something that Keras 3 does not read ({reason}); "
        "build the network anew with layers of Keras 3 (Rescaling for operators such as x / 127.5)"
        ", take over the weights with set_weights, and call model.save('model.keras')"
    )


def in_new_terms(config: dict) -> dict:
    """The configuration of a model with today's words for what Keras 2 called otherwise.

    Parameters
    ----------
    config : dict
        As ``model_config`` of an HDF5 file, or ``config.json``, holds it; not changed.
    """
    config = copy.deepcopy(config)
    pending: list[Any] = [config]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            _renew(part)
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return config


def _renew(layer: dict) -> None:
    kind, config = layer.get("class_name"), layer.get("config")
    if not (isinstance(kind, str) and isinstance(config, dict)):
        return
    for begin, unused in _NOT_USED.items():
        if kind.startswith(begin) and config.get("groups") == 1:
            for name in unused:
                config.pop(name, None)
    if kind == "TFOpLambda":
        _renew_operation(layer, config)


def _renew_operation(layer: dict, config: dict) -> None:
    """An operation with one number becomes a layer that does the same; others stay unknown."""
    function, calls = config.get("function"), layer.get("inbound_nodes")
    if function not in _RESCALING or not (isinstance(calls, list) and calls):
        return
    numbers = []
    for call in calls:
        fits = isinstance(call, list) and len(call) == 4 and isinstance(call[3], dict)
        options = {k: v for k, v in call[3].items() if v is not None} if fits else {}
        number = options.pop("y", None)
        if options or not isinstance(number, int | float) or isinstance(number, bool):
            return
        if not isinstance(call[0], str) or call[0].startswith("_CONSTANT"):
            return
        numbers.append(number)
    if len(set(numbers)) != 1 or (function == "math.truediv" and not numbers[0]):
        return
    scale, offset = _RESCALING[function](numbers[0])
    name = config.get("name")
    layer["class_name"] = "Rescaling"
    layer["config"] = {"name": name, "trainable": True, "scale": scale, "offset": offset}
    layer["inbound_nodes"] = [[[*call[:3], {}]] for call in calls]
