"""Decides how TensorFlow and faiss run inside this process: quietly, on a given number of threads, out of the way."""

import gc
import logging
import os

LOGGER = logging.getLogger(__name__)


def settle() -> None:
    """Imports the libraries and looks through what they made for garbage no more: that would stop all threads for the
    better part of a second, again and again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import faiss  # noqa: F401
    import tensorflow as tf  # noqa: F401

    gc.collect()
    gc.freeze()


def set_threads(threads: int) -> None:
    """Sizes the thread pools of both libraries; TensorFlow's cannot change once it has run anything (logged)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss
    import tensorflow as tf

    faiss.omp_set_num_threads(threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        LOGGER.warning("TensorFlow has run already: its pools keep their size instead of %d threads", threads)
