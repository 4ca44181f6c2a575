"""A network of the user's own in the place of the study's: what it must be like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.model_files import load
from utils.models import compile_model, ends_in_softmax, final_layer, logits_of
from utils.seeds import rng
from utils.text import readable

if TYPE_CHECKING:
    import keras


def read_own_model(
    path: str | Path,
    image_shape: Sequence[int],
    n_classes: int,
    learning_rate: float = 0.001,
) -> keras.Model:
    """Read a trained classifier and make sure that every later step can work with it.

    Parameters
    ----------
    path : str or Path
        A ``.keras`` or ``.h5`` file; it is read without running code that it may carry.
    image_shape : (int, int, int)
        Height, width and channels of the images, which are in [0, 1].
    n_classes : int
        Number of classes of the data set.
    learning_rate : float, default=0.001
        Of the RMSprop optimizer that it is compiled with; its own optimizer is left out.

    Returns
    -------
    keras.Model
        Compiled, with inputs of `image_shape`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or carries code; if the model fails, has several inputs or outputs,
        takes in other images, gives other classes, ends in neither soft-max nor logits, or has no
        gradients.
    """
    import keras
    import tensorflow as tf

    model = load(path)
    try:
        final_layer(model)
        ends_in_softmax(model)
    except ValueError as error:
        raise ValueError(f"model file: {path}: {str(error).removeprefix('model: ')}") from None
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(
            f"model file: {path} takes in {shapes}; expected one input of shape (images, height, "
            "width, channels)"
        )
    wanted, shape = tuple(model.inputs[0].shape[1:]), tuple(map(int, image_shape))
    if any(size not in (None, given) for size, given in zip(wanted, shape, strict=True)):
        raise ValueError(
            f"model file: {path} takes in images of {_by(wanted)}, those of the data set are "
            f"{_by(shape)} (height x width x channels); {_remedy(wanted, shape)}"
        )
    if model.outputs[0].shape[1:] != (n_classes,):
        raise ValueError(
            f"model file: {path} gives {tuple(model.outputs[0].shape[1:])} numbers an image, the "
            f"data set has {n_classes} classes; take a model that was trained on its classes"
        )
    if None in wanted:  # any size: from here on, the size of the images
        fixed = keras.models.clone_model(model, input_tensors=keras.Input(shape, name="images"))
        fixed.set_weights(model.get_weights())
        model = fixed
    try:
        _try(model, path, (2, *shape))
    except tf.errors.OpError as error:  # such as more memory than there is
        reason = readable(str(error).partition("\n")[0], 200)
        raise ValueError(f"model file: {path} fails on two images ({reason})") from None
    return compile_model(model, learning_rate)


def _try(model: keras.Model, path: str | Path, shape: tuple[int, ...]) -> None:
    """Two random images through the model and back, as the attacks will do with all."""
    import tensorflow as tf

    images = tf.constant(rng(0, "trial images").random(shape, np.float32))
    outputs, softmax = model(images, training=False), ends_in_softmax(model)
    if not tf.is_tensor(outputs):
        raise ValueError(f"model file: {path} gives a {type(outputs).__name__}, not one tensor")
    sums = tf.reduce_sum(outputs, axis=-1).numpy()
    if not softmax and tf.reduce_min(outputs) >= 0 and np.allclose(sums, 1, atol=1e-3):
        raise ValueError(
            f"model file: {path} gives probabilities, but its last layer is no soft-max (it is "
            f"{final_layer(model).name!r}); make the soft-max its last layer, or leave it out"
        )
    with tf.GradientTape() as tape:
        tape.watch(images)
        largest = tf.reduce_max(logits_of(model)(images))
    if tape.gradient(largest, images) is None:
        raise ValueError(
            f"model file: {path} has no gradient with respect to its images, so it can't be "
            f"attacked; does it take in {model.inputs[0].dtype} instead of float32?"
        )


def _by(shape: Sequence[int | None]) -> str:
    return "x".join("any" if size is None else str(size) for size in shape)


def _remedy(wanted: Sequence[int | None], shape: Sequence[int]) -> str:
    """The parameters of step 0.0 that make the images fit, if they can."""
    height, width, channels = (w or s for w, s in zip(wanted, shape, strict=True))
    remedies = []
    if (height, width) != tuple(shape[:2]):
        if height != width:
            return "only square models fit"
        remedies.append(f"image_size={height}")
    if channels != shape[2]:
        if channels not in (1, 3):
            return "take a model for gray or colour images"
        remedies.append(f"color={'gray' if channels == 1 else 'rgb'}")
    return f"add --set {' '.join(remedies)}"
