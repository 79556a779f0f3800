"""The ways to read a history that are compared with ours: what they compute, and what they must not see."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from training.bench_towers import CALLS, WARM_CALLS, GruBlock, MeanBlock, call_in_turn
from training.towers import Block, UserTower


@pytest.mark.parametrize("block", [MeanBlock, GruBlock])
def test_a_later_token_changes_nothing_before_it(block: Block) -> None:
    tower = UserTower(4, heads=1, blocks=1, history=5, dropout=0.5, block=block)
    tokens, context = tf.random.stateless_normal([2, 5, 4], [0, 1]), tf.zeros([2, 5, 3])
    before = tower(tokens, context).numpy()
    changed = tower(tf.concat([tokens[:, :3], -tokens[:, 3:]], axis=1), context).numpy()
    assert np.allclose(changed[:, :3], before[:, :3], atol=1e-6)
    assert (np.abs(changed[:, 3:] - before[:, 3:]).max(axis=2) > 1e-3).all()


def test_a_mean_weighs_by_distance() -> None:
    block = MeanBlock(1, 1, 3, 0.0, 0.0, 0)
    # e^bias is 1 at distance 0, 3 at distance 1: (3 * 8 + 4) / 4 at the second position.
    block.bias.assign(np.log([1.0, 3.0, 1.0]))
    found = block(tf.constant([[[8.0], [4.0]]])).numpy()
    assert found[0, :, 0].tolist() == pytest.approx([8, 7])


def test_all_are_called_in_turn() -> None:
    order: list[str] = []
    told = call_in_turn({name: functools.partial(order.append, name) for name in ("a", "b")})
    assert order == ["a", "b"] * (CALLS + WARM_CALLS)
    assert set(told) == {"a", "b"}
