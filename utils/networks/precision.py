"""Networks that compute in half or double precision, made to compute in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from utils.networks.copying import move_state, require_same, same_random_state

if TYPE_CHECKING:
    import keras


def in_float32(model: keras.Model, images: np.ndarray | None = None) -> keras.Model:
    """The network, computing in float32: itself if it does, else one of the same weights.

    Half precision loses gradients that are small: attacks would fail for that reason alone, and
    training needs its loss scaled. In float32 outputs differ by no more than half precision rounds.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    images : ndarray of shape (n, height, width, channels), optional
        Images in [0, 1] to compare the two on.

    Raises
    ------
    ValueError
        If outputs differ by more.
    """
    with same_random_state():
        config = model.get_config()
        changed, config = _with_float32(config)
        if not changed:
            return model
        other = type(model).from_config(config)
    move_state(model, other)
    require_same(model, other, images, "the model in float32", tolerance=0.05)
    return other


def _with_float32(config: Any) -> tuple[bool, Any]:
    """A model's configuration with float32 for every other precision, and whether it had one."""
    import keras

    if isinstance(config, list | tuple):
        parts = [_with_float32(part) for part in config]
        return any(changed for changed, _ in parts), type(config)(part for _, part in parts)
    if not isinstance(config, dict):
        return False, config
    changed, result = False, {}
    for key, value in config.items():
        new, other = False, value
        if key == "dtype" and value is not None:
            policy = keras.dtype_policies.get(value)
            if getattr(policy, "compute_dtype", "") in ("float16", "bfloat16", "float64"):
                new, other = True, "float32"
        else:
            new, other = _with_float32(value)
        changed, result[key] = changed or new, other
    return changed, result
