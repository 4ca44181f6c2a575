"""TensorFlow started quietly, and so that results can be repeated."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def start(seed: int = 0, threads: int = 1) -> None:
    """Import TensorFlow quietly and make what follows reproducible; may be called again.

    Parameters
    ----------
    seed : int, default=0
        Seed of Python's, NumPy's and Keras's global generators.
    threads : int, default=1
        Threads of TensorFlow within and between operations. Results are the same to the bit only
        for the same number of threads: the order of floating-point sums depends on it. They are
        fixed with TensorFlow's first operation; a later request for another number only warns.
    """
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with _quiet_stderr():
        import keras
        import tensorflow as tf

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            f"Keras already runs on {keras.config.backend()}, expected TensorFlow; restart the "
            "kernel, and call start() before anything else imports Keras"
        )
    # Whatever is in ~/.keras/keras.json, or who used this kernel before.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    tf.get_logger().setLevel("ERROR")
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:  # TensorFlow is already running
        now = threading.get_intra_op_parallelism_threads()
        if now != threads:
            warnings.warn(
                f"threads: TensorFlow already runs with {now or 'its default number of'} threads, "
                f"not {threads}; call start() before anything else uses TensorFlow",
                RuntimeWarning,
                stacklevel=2,
            )
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what TensorFlow's compiled part writes on import; its log level does not stop it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def threads() -> int:
    """Threads of one TensorFlow operation; 0 if TensorFlow chooses."""
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads()
