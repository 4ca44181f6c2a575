"""What networks take in: ranges of pixel values and orders of colours; and layers that make them.

Files of networks don't record which of them a network was trained with; `utils.networks.trials`
finds out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from utils.networks.graph import BEHIND

if TYPE_CHECKING:
    import keras


class Pixels(NamedTuple):
    """Pixel values are ``scale * value + offset`` of red, green and blue in [0, 1]."""

    meaning: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXEL_RANGES: dict[str, Pixels] = {
    "1": Pixels("0..1", (1, 1, 1), (0, 0, 0)),
    "255": Pixels("0..255", (255, 255, 255), (0, 0, 0)),
    "-1..1": Pixels("-1..1", (2, 2, 2), (-1, -1, -1)),
    "imagenet": Pixels(
        "0..1 minus ImageNet's mean, over its standard deviation",
        tuple(1 / s for s in _STD),
        tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)),
    ),
    "caffe": Pixels("0..255 minus ImageNet's mean", (255, 255, 255), (-123.68, -116.779, -103.939)),
}
"""The last three are the modes ``tf``, ``torch`` and ``caffe`` of Keras's ``preprocess_input``;
``caffe`` goes with the colour order ``bgr``."""
COLOR_ORDERS = ("rgb", "bgr")


class Convention(NamedTuple):
    """One way to show images to a network and to read its answer."""

    pixel_range: str
    color_order: str
    class_order: str
    resize: str


def shown(images: np.ndarray, pixel_range: str, color_order: str) -> np.ndarray:
    """Images in [0, 1] as a network takes them that was trained under a convention."""
    _, scale, offset = PIXEL_RANGES[pixel_range]
    n = images.shape[-1]
    images = images * np.array(scale[:n], np.float32) + np.array(offset[:n], np.float32)
    return images[..., ::-1] if color_order == "bgr" else images


def in_front(model: keras.Model, pixel_range: str, color_order: str) -> keras.Model:
    """`model` behind layers that make of images in [0, 1] what it takes; see `shown`."""
    import keras

    _, scale, offset = PIXEL_RANGES[pixel_range]
    steps, name = [], model.name  # no two layers of a network have the same name
    if pixel_range != "1":
        alike = len(set(scale)) == len(set(offset)) == 1
        values = (scale[0], offset[0]) if alike else (list(scale), list(offset))
        steps.append(keras.layers.Rescaling(*values, name=f"{name}_pixel_range"))
    if color_order == "bgr":
        steps.append(lambda values: keras.ops.flip(values, axis=-1))
    if not steps:
        return model
    images = values = keras.Input(model.inputs[0].shape[1:], name=f"{name}_images")
    for step in steps:
        values = step(values)
    return keras.Model(images, model(values), name=f"{name}{BEHIND}")
