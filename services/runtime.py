"""Decides how TensorFlow and faiss run inside this process: quietly, on a given number of threads, out of the way."""

import gc
import logging
import os

import threadpoolctl

LOGGER = logging.getLogger(__name__)
# How many threads `set_threads` was told; None until then.
_told: int | None = None


def settle() -> None:
    """Imports the libraries and looks through what they made for garbage no more: that would stop all threads for the
    better part of a second, again and again."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import faiss  # noqa: F401
    import tensorflow as tf  # noqa: F401

    gc.collect()
    gc.freeze()


def set_threads(threads: int) -> None:
    """Sizes the thread pools of both libraries, and of numpy, for all threads but faiss's, see `size_for_this_thread`;
    TensorFlow's cannot change once it has run anything (logged)."""
    global _told
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    # It warns of each function that has no gradient any more, see training.export.
    logging.getLogger("absl").setLevel(logging.ERROR)
    import tensorflow as tf

    _told = threads
    size_for_this_thread()
    threadpoolctl.threadpool_limits(threads, user_api="blas")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        LOGGER.warning("TensorFlow has run already: its pools keep their size instead of %d threads", threads)


def size_for_this_thread() -> None:
    """OpenMP, which faiss runs on, starts a pool for each thread that calls it, by a number that each thread has for
    itself: that of the last `set_threads` from now on."""
    import faiss

    if _told is not None:
        faiss.omp_set_num_threads(_told)
