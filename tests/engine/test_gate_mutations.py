"""Every mutation of a valid file is safe: all bytes, all lengths, all fields, and a seeded fuzz."""

import copy
import itertools
import json

import pytest
from engine.fuzz_gate import ACTIONS, encode, entry, fuzz, publication, put, severity, unsafe

from parityd.engine import Gate


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


VALID = {
    "reduced among others": {"momentum": "REDUCE_SIZE", "carry": "CONTINUE"},
    "stopped": {"momentum": "DISABLE_TRADING"},
    "continuing": {"momentum": "CONTINUE", "carry": "WARNING"},
}


def check(folder, body, raw, mutations, *, in_place):
    """A Gate that saw the valid file is never talked into more; one that saw nothing is told only what the file says."""
    put(folder, raw)
    mine = body["strategies"]["momentum"]
    seen, accepted = Gate(folder, "momentum"), 0
    assert seen.read().fresh
    for mutated in mutations:
        put(folder, mutated, in_place=in_place)
        verdict, alone = seen.read(), Gate(folder, "momentum").read()
        assert severity(verdict) >= severity(mine), mutated
        assert not unsafe(verdict, mutated, "momentum", mine, "WARNING", single=True), mutated
        assert not unsafe(alone, mutated, "momentum", None, "WARNING" if alone.sequence else "DISABLE_TRADING", single=False), mutated
        if verdict.fresh or verdict.sequence != body["sequence"]:  # a higher sequence with the same permission: begin anew
            accepted += 1
            put(folder, raw)
            seen = Gate(folder, "momentum")
            assert seen.read().fresh
    return accepted


@pytest.mark.parametrize("what", VALID)
@pytest.mark.parametrize("bits", [0x01, 0x02, 0x20, 0x80])
def test_each_byte_flipped(folder, what, bits):
    body = publication(VALID[what], on_expiry="WARNING", ttl=600)
    raw = encode(body)
    flips = [raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1 :] for at in range(len(raw))]
    accepted = check(folder, body, raw, flips, in_place=True)
    assert accepted < len(raw) / 20


@pytest.mark.parametrize("what", VALID)
def test_cut_at_each_length(folder, what):
    body = publication(VALID[what], on_expiry="WARNING", ttl=600)
    raw = encode(body)
    assert check(folder, body, raw, [raw[:length] for length in range(len(raw))], in_place=False) == 0


def test_each_byte_cut_out_or_doubled(folder):
    body = publication(on_expiry="WARNING", ttl=600)
    raw = encode(body)
    without = [raw[:at] + raw[at + 1 :] for at in range(len(raw))]
    doubled = [raw[:at] + raw[at : at + 1] + raw[at:] for at in range(len(raw))]
    check(folder, body, raw, without + doubled, in_place=False)


def places(body):
    yield body
    yield body["default"]
    yield from body["strategies"].values()


def test_each_field_replaced_by_each_other_value(folder):
    body = publication({"momentum": "REDUCE_SIZE", "carry": "WARNING"}, on_expiry="WARNING", ttl=600)
    values = [*ACTIONS, True, False, None, 0, 1, 0.25, -1, 2**70, "", "1", [], {}, {"momentum": entry()}]
    mutations = []
    for number in range(len(list(places(body)))):
        for key in list(list(places(body))[number]):
            for value in values:
                other = copy.deepcopy(body)
                list(places(other))[number][key] = value
                mutations.append(encode(other))
    check(folder, body, encode(body), mutations, in_place=False)


def test_each_pair_of_fields_swapped(folder):
    body = publication({"momentum": "REDUCE_SIZE", "carry": "WARNING"}, on_expiry="WARNING", ttl=600)
    mutations = [encode(body | {a: body[b], b: body[a]}) for a, b in itertools.combinations(body, 2)]
    check(folder, body, encode(body), mutations, in_place=False)


def test_a_less_severe_entry_under_any_action_at_the_top_is_never_obeyed_unless_the_whole_file_agrees(folder):
    for action in ACTIONS:
        for claimed in ACTIONS:
            body = publication({"momentum": action}) | {"strategies": {"momentum": entry(claimed)}}
            put(folder, body)
            verdict = Gate(folder, "momentum").read()
            assert verdict.fresh is (action == claimed), (action, claimed)
            assert verdict.action == (claimed if action == claimed else "DISABLE_TRADING")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seeded_fuzz_finds_nothing_unsafe_and_tries_what_it_says(folder, seed):
    outcomes = fuzz(1500, seed, folder)
    assert sum(outcomes.values()) == 1500
    assert len({mutation for mutation, _, _ in outcomes}) == 12


def test_the_fuzz_catches_a_gate_that_trusts_the_file(folder, monkeypatch):
    """The negative control: with the check for contradictions taken out, the fuzz fails."""
    monkeypatch.setattr("parityd.engine.publication._agree", lambda _publication: None)
    with pytest.raises(AssertionError, match="top"):
        fuzz(20_000, 5, folder)


def test_the_fuzz_catches_a_gate_that_forgets(folder, monkeypatch):
    monkeypatch.setattr("parityd.engine.gate.Gate._follows", lambda *_: None)
    with pytest.raises(AssertionError):
        fuzz(20_000, 5, folder)


@pytest.mark.torture
def test_a_million_mutations(folder):
    outcomes = fuzz(1_000_000, 20261121, folder)
    assert sum(outcomes.values()) == 1_000_000


def test_a_body_survives_its_own_encoding(folder):
    body = publication()
    assert json.loads(encode(body)) == body
