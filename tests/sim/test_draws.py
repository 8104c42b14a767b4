"""Seeds: the same for ever, each part on its own."""

import numpy as np
import pytest

from parityd.sim import Draws

PINNED = [0.368716763, 0.887380485, 0.998427945, 0.332147312]


def test_a_stream_is_pinned_so_that_every_python_and_numpy_gives_it() -> None:
    draws = Draws(7, "latency")
    assert [round(draws.one(), 9) for _ in range(4)] == PINNED


def test_one_by_one_and_many_read_the_same_stream() -> None:
    single, mixed = Draws(3, "share"), Draws(3, "share")
    expected = [single.one() for _ in range(1500)]
    got = [mixed.one() for _ in range(10)] + mixed.many(700).tolist() + [mixed.one()] + mixed.many(0).tolist() + mixed.many(789).tolist()
    assert got == expected


def test_parts_and_seeds_have_streams_of_their_own() -> None:
    streams = [Draws(1, "latency"), Draws(1, "partial"), Draws(2, "latency")]
    table = np.array([d.many(4000) for d in streams])
    assert np.abs(np.corrcoef(table)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(4000)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^seed"):
        Draws(-1, "latency")
