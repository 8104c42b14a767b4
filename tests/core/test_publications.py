"""What was published and acknowledged, and what therefore held when."""

import itertools

import msgspec
import pytest

from parityd.core.publications import Publications, first_difference


def made(*entries):
    p = Publications()
    for issued, sequence, action, size in entries:
        p.publish(issued, sequence, action, size)
    return p


def halved():
    return made((100, 1, "CONTINUE", 1.0), (200, 2, "REDUCE_SIZE", 0.5), (300, 3, "CONTINUE", 1.0))


def test_an_action_holds_from_its_issue_to_the_next():
    p = halved()
    assert [p.action_at(t) for t in (99, 100, 199, 200, 299, 300)] == [
        None,
        "CONTINUE",
        "CONTINUE",
        "REDUCE_SIZE",
        "REDUCE_SIZE",
        "CONTINUE",
    ]


def test_an_engine_that_never_acknowledged_is_scaled_by_nothing():
    assert halved().scales(obeys=False) == []
    assert halved().multiplier_at(250, obeys=False) == 1.0


def test_an_engine_that_obeys_without_a_word_is_scaled_from_the_issue():
    assert halved().scales(obeys=True) == [(200, 0.5), (300, 1.0)]


def test_an_engine_that_acknowledges_is_scaled_from_its_acknowledgement():
    p = halved()
    p.acknowledge(2, 230)
    assert p.scales(obeys=False) == [(230, 0.5)]
    p.acknowledge(3, 320)
    assert p.scales(obeys=False) == [(230, 0.5), (320, 1.0)]


def test_an_acknowledgement_of_a_later_sequence_is_one_of_all_below():
    p = halved()
    p.acknowledge(3, 310)
    assert p.acknowledged_at(2) == p.acknowledged_at(1) == 310
    assert p.acknowledged_at(4) is None
    assert p.scales(obeys=False) == []  # the cut was over before it was ever obeyed


def test_the_order_of_acknowledgements_does_not_matter():
    told = [(2, 230), (2, 250), (3, 320), (1, 110), (3, 310)]
    seen = set()
    for order in itertools.permutations(told):
        p = halved()
        for ack in order:
            p.acknowledge(*ack)
        seen.add((tuple(p.acks), tuple(p.scales(obeys=False)), p.unacknowledged_since()))
    assert seen == {(((1, 110), (2, 230), (3, 310)), ((230, 0.5), (310, 1.0)), None)}


def test_a_clock_that_runs_ahead_cannot_acknowledge_before_the_issue():
    p = halved()
    p.acknowledge(2, 150)
    assert p.scales(obeys=False) == [(200, 0.5)]


def test_while_nothing_was_valid_on_expiry_counts_as_published():
    p = made((100, 1, "CONTINUE", 1.0))
    p.lapse(400, 500, "DISABLE_TRADING")
    assert p.action_at(450) == "DISABLE_TRADING"
    assert p.action_at(500) == "CONTINUE"
    assert p.scales(obeys=True) == [(400, 0.0), (500, 1.0)]
    assert p.scales(obeys=False) == []
    p.acknowledge(1, 120)
    assert p.scales(obeys=False) == [(400, 0.0), (500, 1.0)]


def test_a_lapse_never_makes_a_stop_milder():
    p = made((100, 1, "EMERGENCY_STOP", 0.0))
    p.lapse(200, 300, "DISABLE_TRADING")
    assert p.action_at(250) == "EMERGENCY_STOP"


def test_a_lapse_told_again_grows_and_one_before_the_first_publication_is_none():
    p = made((100, 1, "CONTINUE", 1.0))
    p.lapse(200, 250, "DISABLE_TRADING")
    p.lapse(200, 300, "DISABLE_TRADING")
    assert p.scales(obeys=True) == [(200, 0.0), (300, 1.0)]
    fresh = Publications()
    fresh.lapse(10, 20, "DISABLE_TRADING")
    assert fresh.scales(obeys=True) == []


def test_advisory_scales_nothing_not_even_while_lapsed():
    p = Publications()
    p.publish(100, 1, "EMERGENCY_STOP", 0.0, advisory=True)
    p.lapse(150, 180, "DISABLE_TRADING")
    assert p.scales(obeys=True) == []
    p.publish(200, 1, "EMERGENCY_STOP", 0.0, advisory=False)
    assert p.scales(obeys=True) == [(200, 0.0)]


def test_what_waits_for_acknowledgement_is_the_oldest_that_was_not():
    p = made((100, 1, "CONTINUE", 1.0))
    p.acknowledge(1, 110)
    assert p.unacknowledged_since() is None
    p.publish(200, 2, "WARNING", 1.0)
    p.publish(300, 3, "WARNING", 1.0)  # the same entry under a new sequence
    assert p.unacknowledged_since() == 200
    p.acknowledge(2, 310)
    assert p.unacknowledged_since() == 300
    p.acknowledge(3, 320)
    assert p.unacknowledged_since() is None


def test_an_engine_that_never_acknowledges_is_not_waited_for():
    assert halved().unacknowledged_since() is None


def test_a_stop_says_when_it_was_acknowledged_and_until_when_it_held():
    p = made((100, 1, "DISABLE_TRADING", 0.0), (200, 2, "EMERGENCY_STOP", 0.0), (300, 3, "REDUCE_SIZE", 0.5))
    p.acknowledge(1, 130)
    assert [(s.action, s.issued_ns, s.acknowledged_ns, s.until_ns) for s in p.stops()] == [
        ("DISABLE_TRADING", 100, 130, 300),
        ("EMERGENCY_STOP", 200, None, 300),
    ]


def test_it_is_bounded_and_comes_back_from_its_bytes():
    p = Publications()
    for k in range(5000):
        p.publish(k * 10, k, "REDUCE_SIZE" if k % 2 else "CONTINUE", 0.5 if k % 2 else 1.0)
        p.acknowledge(k, k * 10 + 1)
        p.lapse(k * 10 + 2, k * 10 + 3, "DISABLE_TRADING")
    data = msgspec.msgpack.encode(p)
    assert len(data) < 100_000
    again = msgspec.msgpack.decode(data, type=Publications)
    assert again.scales(obeys=False) == p.scales(obeys=False)
    assert p.multiplier_at(49_993 - 2, obeys=False) == 0.5


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ([], [], None),
        ([], [(5, 0.5)], 5),
        ([(5, 0.5)], [(5, 0.5)], None),
        ([(5, 0.5)], [(5, 0.5), (9, 1.0)], 9),
        ([(5, 0.5)], [(7, 0.5)], 5),
    ],
)
def test_two_scalings_differ_from_the_first_time_on_at_which_they_do(old, new, at):
    assert first_difference(old, new) == at
