"""A network of the user's own instead of the study's: what it must be like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.core.text import readable
from utils.networks.architectures import compile_model
from utils.networks.conventions import PIXEL_RANGES, shown
from utils.networks.copying import move_state, require_same, same_random_state
from utils.networks.ends import End, end_of, require_repeatable, some_images
from utils.networks.files import load
from utils.networks.graph import layers_within, single_output
from utils.networks.precision import in_float32

if TYPE_CHECKING:
    import keras


def read_own_model(
    path: str | Path,
    image_shape: Sequence[int],
    n_classes: int,
    learning_rate: float = 0.001,
    images: np.ndarray | None = None,
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
    images : ndarray of shape (n, height, width, channels), optional
        Images of the data set to try it on; without, random ones.

    Returns
    -------
    keras.Model
        Compiled, with inputs of `image_shape`, computing in float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or carries code; if the model fails, has several inputs or outputs,
        takes in other images, gives other classes, ends in neither probabilities nor logits, has
        weights that are no numbers or can't be trained, or has no gradients.
    """
    import tensorflow as tf

    model = load(path)
    try:
        single_output(model)
    except ValueError as error:
        raise _refused(path, error) from None
    _check_shapes(model, path, tuple(map(int, image_shape)), n_classes)
    _check_weights(model, path)
    try:
        model = _plain(model)
        require_repeatable(model, images)
        model = in_float32(_fixed_size(model, image_shape, images), images)
        _try(model, path, some_images(model, images)[:8])
    except tf.errors.OpError as error:  # such as more memory than there is
        reason = readable(str(error).partition("\n")[0], 200)
        raise ValueError(f"model file: {path} fails on a few images ({reason})") from None
    except _Refusal:
        raise
    except ValueError as error:
        raise _refused(path, error) from None
    return compile_model(model, learning_rate)


class _Refusal(ValueError):
    """Says already which file it is about."""


def _refused(path: str | Path, error: ValueError) -> ValueError:
    return ValueError(f"model file: {path}: {readable(error, 1000).removeprefix('model: ')}")


def _check_shapes(
    model: keras.Model, path: str | Path, shape: tuple[int, ...], n_classes: int
) -> None:
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(
            f"model file: {path} takes in {shapes}; expected one input of shape (images, height, "
            "width, channels)"
        )
    wanted = tuple(model.inputs[0].shape[1:])
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


def _check_weights(model: keras.Model, path: str | Path) -> None:
    """Weights must be numbers, and some must be such that training can change them."""
    for variable in model.weights:
        values = variable.numpy()
        bad = 0 if values.dtype.kind in "iub" else np.count_nonzero(~np.isfinite(values * 1.0))
        if bad:
            raise ValueError(
                f"model file: {path}: {bad} of the {values.size} numbers of {variable.path} are "
                "NaN or infinite; take a network whose training did not fail"
            )
    for layer in layers_within(model):
        if mode := getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"model file: {path}: layer {layer.name!r} is quantised ({mode}), and such weights "
                "can't be retrained; take the network from before it was quantised"
            )
    if not model.trainable_weights:
        raise ValueError(
            f"model file: {path} has no weights that training may change; set trainable=True and "
            "save it again"
        )


def _plain(model: keras.Model) -> keras.Model:
    """The model with a tensor for a tensor: in older files they are lists, in others named."""
    import keras

    if isinstance(model, keras.Sequential) or (
        isinstance(model.input, keras.KerasTensor) and isinstance(model.output, keras.KerasTensor)
    ):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _fixed_size(model: keras.Model, shape: Sequence[int], images: np.ndarray | None) -> keras.Model:
    """The model for images of this size alone, if it takes in images of any size."""
    import keras

    if None not in model.inputs[0].shape[1:]:
        return model
    tensor = keras.Input(tuple(shape), dtype=model.inputs[0].dtype, name="images")
    with same_random_state():
        fixed = keras.models.clone_model(model, input_tensors=tensor)
    move_state(model, fixed)
    require_same(model, fixed, some_images(fixed, images), "the model for images of this size")
    return fixed


def _try(model: keras.Model, path: str | Path, images: np.ndarray) -> None:
    """Some images through the model and back, as the attacks will do with all."""
    end = end_of(model, images)
    # Which values it takes is found later: with others, all its neurons may be off.
    lost = min(
        _without_gradient(model, end, path, shown(images, values, "rgb")) for values in PIXEL_RANGES
    )
    if lost > len(images) // 2:
        raise _Refusal(
            f"model file: {path}: the gradient of {end.words} with respect to the image is 0 for "
            f"{lost} of {len(images)} images, so attacks on it would fail for that reason alone; "
            "leave out what makes it vanish, such as a soft-max that another operation follows"
        )


def _without_gradient(model: keras.Model, end: End, path: str | Path, images: np.ndarray) -> int:
    """Number of images with respect to which the gradient of the logits is 0."""
    import tensorflow as tf

    images = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = end.logits(images)
        margins = tf.reduce_max(logits, axis=1) - tf.reduce_min(logits, axis=1)
    gradient = tape.gradient(margins, images)
    if gradient is None:
        taken = model.inputs[0].dtype
        why = (
            "an operation in it has none, such as rounding"
            if taken == "float32"
            else f"does it take in {taken} instead of float32?"
        )
        raise _Refusal(
            f"model file: {path} has no gradient with respect to its images, so it can't be "
            f"attacked; {why}"
        )
    return int(tf.math.count_nonzero(tf.reduce_all(gradient == 0, axis=[1, 2, 3])))


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
