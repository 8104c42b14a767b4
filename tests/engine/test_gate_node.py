"""The example reader in Node.js gives the verdicts of the Gate, file by file and in succession."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from engine.fuzz_gate import MUTATIONS, base, encode, publication, put
from engine.gate_desk import BAD

import parityd
from parityd.engine import ACTIONS, Gate

NODE = shutil.which("node")
EXAMPLE = Path(parityd.__file__).parent.parent / "examples" / "gate.mjs"
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not on this machine")

# Reads one path a line and answers one verdict a line; a path may come again, for the same Gate.
SERVER = """
import { createInterface } from 'node:readline'
const { Gate } = await import(process.argv[1])
const gates = new Map()
for await (const line of createInterface({ input: process.stdin })) {
  const [path, strategy, remote] = JSON.parse(line)
  if (!gates.has(line)) gates.set(line, new Gate(path, strategy, { remote }))
  console.log(JSON.stringify(gates.get(line).read()))
}
"""


class Node:
    def __init__(self):
        self.process = subprocess.Popen(
            [NODE, "--input-type=module", "-e", SERVER, EXAMPLE.as_uri()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, path, strategy="momentum", *, remote=False):
        self.process.stdin.write(json.dumps([str(path), strategy, remote]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def node():
    with (server := Node()).process:
        yield server
        server.process.stdin.close()
        assert server.process.wait(10) == 0


def fields(verdict):
    return {name: getattr(verdict, name) for name in verdict.__slots__ if name != "reason"}


def same(said, verdict):
    reason = said.pop("reason")
    assert said == fields(verdict), (reason, verdict.reason)
    assert reason == verdict.reason if verdict.fresh else reason


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("on_expiry", ["WARNING", "DISABLE_TRADING", "EMERGENCY_STOP"])
def test_valid_then_expired_then_missing(folder, node, action, on_expiry):
    gate = Gate(folder, "momentum")
    put(folder, publication({"momentum": action}, on_expiry=on_expiry))
    same(node.read(folder), gate.read())
    assert gate.read().fresh
    path = put(folder, publication({"momentum": "CONTINUE"}, on_expiry=on_expiry, sequence=1235, age=61))
    same(node.read(folder), gate.read())
    path.unlink()
    same(node.read(folder), gate.read())


@pytest.mark.parametrize("what", [what for what in BAD if what != "a fractional sequence"])
def test_a_bad_file_permits_nothing(folder, node, what):
    put(folder, BAD[what])
    same(node.read(folder), Gate(folder, "momentum").read())


def test_whole_numbers_are_one_in_javascript_and_that_is_the_only_leniency(folder, node):
    put(folder, encode(publication()).replace(b'"sequence": 1234', b'"sequence": 1234.0'))
    assert node.read(folder)["fresh"]


@pytest.mark.parametrize("seed", [11, 12])
def test_the_same_verdicts_on_mutations_by_a_reader_that_saw_the_valid_file_and_one_that_did_not(folder, node, seed):
    rng = random.Random(seed)
    mutations = [mutation for mutation in MUTATIONS if mutation.__name__ not in {"insert", "contradict"}]
    for number in range(250):
        place = folder / str(number)
        place.mkdir(mode=0o755)
        body = base(rng)
        raw = encode(body)
        put(place, raw)
        gate = Gate(place, "momentum")
        same(node.read(place), gate.read())
        mutated = rng.choice(mutations)(rng, raw, encode(base(rng, 2000)))
        put(place, mutated)
        same(node.read(place), gate.read())
        same(node.read(place / "trading_override.json"), Gate(place, "momentum").read())


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o644])
@pytest.mark.parametrize("folder_mode", [0o755, 0o775, 0o1775, 0o757, 0o1777])
def test_the_same_trust_in_modes(folder, node, mode, folder_mode):
    put(folder, publication()).chmod(mode)
    folder.chmod(folder_mode)
    said, verdict = node.read(folder), Gate(folder, "momentum").read()
    same(said, verdict)
    assert verdict.fresh is (mode == 0o644 and folder_mode in {0o755, 0o1775})


def test_no_symbolic_link_no_pipe_no_folder_nothing_huge(folder, node):
    path = put(folder, publication())
    real = path.rename(folder / "real.json")
    path.symlink_to(real)
    same(node.read(folder), Gate(folder, "momentum").read())
    path.unlink()
    path.mkdir()
    same(node.read(folder), Gate(folder, "momentum").read())
    path.rmdir()
    put(folder, encode(publication()) + b" " * (4 << 20))
    same(node.read(folder), Gate(folder, "momentum").read())


@pytest.mark.parametrize("age", [0, 59, 61, -4, -6])
@pytest.mark.parametrize("remote", [True, False])
def test_another_boot_is_stale_unless_remote(folder, node, age, remote):
    put(folder, publication(boot_id="another", age=age, issued_boottime_ns=1))
    same(node.read(folder, remote=remote), Gate(folder, "momentum", remote=remote).read())


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 1233},
        {"sequence": 1234},
        {"sequence": 1300, "decision_sequence": 3},
        {"sequence": 1300, "instance": "x"},
        {"sequence": 1300},
    ],
)
def test_the_same_succession(folder, node, change):
    gate = Gate(folder, "carry")
    put(folder, publication())
    same(node.read(folder, "carry"), gate.read())
    put(folder, publication({"momentum": "WARNING", "carry": "WARNING"}, **change))
    same(node.read(folder, "carry"), gate.read())


def test_from_a_shell_it_prints_the_verdict_and_exits_by_it(folder):
    put(folder, publication({"momentum": "REDUCE_SIZE"}))
    done = subprocess.run([NODE, EXAMPLE, folder, "momentum"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["size_multiplier"] == 0.5
    done = subprocess.run([NODE, EXAMPLE, folder / "nowhere", "momentum"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and json.loads(done.stdout)["action"] == "DISABLE_TRADING"
