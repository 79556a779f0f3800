"""Decides how the ranking model is compiled for lists of one shape, and whether what came of it may be used."""

from collections.abc import Mapping
from typing import Any

import numpy as np

TOLERANCE = 1e-4


def compiled(signature: Any, shapes: Mapping[str, tuple[int, ...]], lengths: tuple[int, int]) -> Any:
    """A concrete function that gives what `signature` gives, for inputs of exactly these shapes, compiled by XLA; that
    takes seconds. It is asked once about made-up lists of these `lengths` (articles, views).

    Raises ValueError where an answer is further than 1e-4 from that of the signature.
    """
    import tensorflow as tf

    types = {name: spec.dtype for name, spec in signature.structured_input_signature[1].items()}
    call = tf.function(lambda **inputs: signature(**inputs), jit_compile=True, autograph=False)
    made = call.get_concrete_function(
        **{name: tf.TensorSpec(shape, types[name], name=name) for name, shape in shapes.items()}
    )
    random = np.random.default_rng(0)
    given = {
        name: tf.constant(random.normal(size=shape), types[name])
        if types[name].is_floating
        else tf.zeros(shape, types[name])
        for name, shape in shapes.items()
    }
    given["length"] = tf.constant(np.tile(lengths, (shapes["length"][0], 1)), types["length"])
    expected, found = (each(**given)["probabilities"].numpy() for each in (signature, made))
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"compiled, the model is {difference:.6g} away from itself, at most {TOLERANCE} is allowed")
    return made
