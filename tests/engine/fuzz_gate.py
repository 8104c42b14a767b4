"""The Gate tortured on its own: mutations of valid files, each read by a Gate that saw the valid one and by one that saw nothing.

As a command: `python tests/engine/fuzz_gate.py [COUNT] [SEED]` prints what the mutations did and what came of them; exit 1 on the first
unsafe verdict, with the file that caused it. What must hold, by a reading of the file that shares no code with the Gate:

1. A fresh verdict is what the file literally says for this strategy, and the file agrees with itself and with the clock.
2. A verdict that is not fresh is at least as severe as `on_expiry` and as the last valid action.
3. No change of a single byte, and no cut, makes the verdict of a Gate that saw the valid file less severe.
4. The valid file itself is obeyed (a Gate that always says no would pass the rest).
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from parityd.engine import ACTIONS, Gate, Verdict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
SIZES = {"CONTINUE": 1.0, "WARNING": 1.0, "REDUCE_SIZE": 0.5, "DISABLE_TRADING": 0.0, "EMERGENCY_STOP": 0.0}
STOPS = ("DISABLE_TRADING", "EMERGENCY_STOP")


def rfc(moment):
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(action="CONTINUE", reason="as expected", size=None):
    return {
        "action": action,
        "trading_enabled": action not in STOPS,
        "size_multiplier": SIZES[action] if size is None else size,
        "reason": reason,
    }


def publication(
    strategies=None, default="CONTINUE", *, age=0.0, ttl=60, sequence=1234, decision_sequence=17, on_expiry="DISABLE_TRADING", **override
):
    """A valid file of `age` seconds: strategies as {name: action or entry}; any key may be overridden."""
    strategies = {"momentum": "REDUCE_SIZE"} if strategies is None else strategies
    entries = {name: entry(what) if isinstance(what, str) else what for name, what in strategies.items()}
    default = entry(default) if isinstance(default, str) else default
    top = max(entries.values() or [default], key=lambda one: (ACTIONS.index(one["action"]), -one["size_multiplier"]))
    issued = datetime.now(UTC) - timedelta(seconds=age)
    issued = issued.replace(microsecond=issued.microsecond // 1000 * 1000)
    return {
        "schema": "parityd/trading_override/1",
        "sequence": sequence,
        "decision_sequence": decision_sequence,
        "instance": "desk-1",
        "boot_id": BOOT_ID,
        "issued_at": rfc(issued),
        "issued_boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - round(age * 1e9),
        "ttl_seconds": ttl,
        "expires_at": rfc(issued + timedelta(seconds=ttl)),
        "on_expiry": on_expiry,
        **top,
        "strategies": entries,
        "default": default,
    } | override


def encode(body):
    return json.dumps(body).encode()


def put(folder, raw, *, in_place=False):
    """Publish bytes, or a body, as parityd does: mode 0644, by rename; or badly, in place."""
    raw = raw if isinstance(raw, bytes) else encode(raw)
    path = Path(folder) / "trading_override.json"
    target = path if in_place else path.with_name(".trading_override.json")
    target.write_bytes(raw)
    target.chmod(0o644)
    if not in_place:
        target.rename(path)
    return path


def severity(one):
    one = one if isinstance(one, dict) else {"action": one.action, "size_multiplier": one.size_multiplier}
    return ACTIONS.index(one["action"]), -one["size_multiplier"]


def consistent(one):
    return one["trading_enabled"] is (one["action"] not in STOPS) and (
        0 <= one["size_multiplier"] < 1 if one["action"] == "REDUCE_SIZE" else one["size_multiplier"] == SIZES[one["action"]]
    )


def complaint_about_fresh(verdict: Verdict, raw: bytes, strategy: str) -> str | None:
    """Rule 1: why this file could not have said so."""
    body = json.loads(raw)
    mine = body["strategies"].get(strategy, body["default"])
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    entries = [*body["strategies"].values()]
    checks = {
        "schema": body["schema"] == "parityd/trading_override/1",
        "boot": body["boot_id"] == BOOT_ID
        and body["issued_boottime_ns"] <= now < body["issued_boottime_ns"] + body["ttl_seconds"] * 1e9 + 1e9,
        "permission": (verdict.action, verdict.trading_enabled, verdict.size_multiplier)
        == (mine["action"], mine["trading_enabled"], mine["size_multiplier"]),
        "known": verdict.known is (strategy in body["strategies"]),
        "sequence": (verdict.sequence, verdict.decision_sequence) == (body["sequence"], body["decision_sequence"]),
        "consistent": all(consistent(one) for one in [body, body["default"], *entries]),
        "top": all(severity(body) >= severity(one) for one in entries),
        "expiry": abs(
            (datetime.fromisoformat(body["expires_at"]) - datetime.fromisoformat(body["issued_at"])).total_seconds() - body["ttl_seconds"]
        )
        < 0.002,
    }
    return next((name for name, fits in checks.items() if not fits), None)


def flip(rng, raw, _other):
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ rng.randrange(1, 256)]) + raw[at + 1 :]


def cut(rng, raw, _other):
    return raw[: rng.randrange(len(raw))]


def insert(rng, raw, _other):
    at = rng.randrange(len(raw))
    return (
        raw[:at] + rng.choice([b"0", b"9", b"-", b"e9", b" ", b"\0", b'"', b"{", b"}", b",", b"true", b"NaN", b"1e400", b"\xff"]) + raw[at:]
    )


def repeat(rng, raw, _other):
    start, end = sorted((rng.randrange(len(raw)), rng.randrange(len(raw))))
    return raw[:end] + raw[start:end] + raw[end:]


def drop_slice(rng, raw, _other):
    start, end = sorted((rng.randrange(len(raw)), rng.randrange(len(raw))))
    return raw[:start] + raw[end:]


def splice(rng, raw, other):
    return raw[: rng.randrange(len(raw))] + other[rng.randrange(len(other)) :]


def many_flips(rng, raw, other):
    for _ in range(rng.randrange(2, 6)):
        raw = flip(rng, raw, other)
    return raw


def _place(rng, body):
    return rng.choice([body, body, body["default"], *body["strategies"].values()])


def remove(rng, raw, _other):
    place = _place(rng, body := json.loads(raw))
    del place[rng.choice(list(place))]
    return encode(body)


def swap(rng, raw, _other):
    place = _place(rng, body := json.loads(raw))
    a, b = rng.sample(list(place), 2)
    place[a], place[b] = place[b], place[a]
    return encode(body)


def swap_entries(rng, raw, _other):
    body = json.loads(raw)
    names = list(body["strategies"])
    a, b = rng.choice(names), rng.choice(names)
    body["strategies"][a], body["strategies"][b] = body["strategies"][b], body["strategies"][a]
    if rng.random() < 0.5:
        body["strategies"][a], body["default"] = body["default"], body["strategies"][a]
    return encode(body)


def contradict(rng, raw, _other):
    place = _place(rng, body := json.loads(raw))
    values = [
        *ACTIONS,
        True,
        False,
        None,
        0,
        1,
        0.5,
        1.5,
        -1,
        10**400,
        2**63,
        "",
        "1",
        [],
        {},
        float("nan"),
        float("inf"),
        "WARNING",
        "\ud800",
    ]
    place[rng.choice(list(place))] = rng.choice(values)
    return encode(body)


def duplicate_key(rng, raw, _other):
    key = rng.choice(["action", "trading_enabled", "size_multiplier", "sequence", "on_expiry", "default"])
    value = rng.choice(['"CONTINUE"', "true", "1.0", "99999", '"WARNING"', json.dumps(entry())])
    return raw[:-1] + f', "{key}": {value}}}'.encode()


SINGLE = (flip, cut)
MUTATIONS = (flip, flip, cut, insert, repeat, drop_slice, splice, many_flips, remove, swap, swap_entries, contradict, duplicate_key)


def base(rng, sequence=1000):
    names = ["momentum", "carry", "grid 2"]
    return publication(
        {name: rng.choice(ACTIONS) for name in names[: rng.randrange(1, 4)]},
        default=rng.choice(ACTIONS),
        sequence=sequence,
        on_expiry=rng.choice(["WARNING", "DISABLE_TRADING", "EMERGENCY_STOP"]),
    )


def unsafe(verdict, raw, strategy, floor, on_expiry, *, single):
    """What is wrong with this verdict, or None."""
    if not consistent({name: getattr(verdict, name) for name in ("action", "trading_enabled", "size_multiplier")}):
        return "the verdict contradicts itself"
    if verdict.fresh:
        if wrong := complaint_about_fresh(verdict, raw, strategy):
            return f"fresh, but not what the file says: {wrong}"
        return "a single change made it less severe" if single and floor and severity(verdict) < severity(floor) else None
    if ACTIONS.index(verdict.action) < ACTIONS.index(on_expiry):
        return "less severe than on_expiry"
    return "less severe than the last valid action" if floor and severity(verdict) < severity(floor) else None


def fuzz(count, seed, folder, per_base=50):
    """`count` mutations; the outcomes by mutation. Raises AssertionError with the file on the first unsafe verdict."""
    rng, outcomes, done = random.Random(seed), Counter(), 0
    while done < count:
        body, other = base(rng), encode(base(rng, 2000))
        raw, strategy = encode(body), rng.choice(["momentum", "carry", "nobody"])
        mine = body["strategies"].get(strategy, body["default"])
        seen = None
        for _ in range(min(per_base, count - done)):
            if seen is None:
                put(folder, raw)
                seen = Gate(folder, strategy)
                first = seen.read()
                assert first.fresh and first.action == mine["action"], (seed, done, raw, first)
            mutation = rng.choice(MUTATIONS)
            mutated = mutation(rng, raw, other)
            put(folder, mutated, in_place=rng.random() < 0.3)
            single = mutation in SINGLE and mutated != raw
            verdict, alone = seen.read(), Gate(folder, strategy).read()
            said_expiry = body["on_expiry"]
            wrong = unsafe(
                verdict, mutated, strategy, mine, said_expiry if verdict.sequence == body["sequence"] else "CONTINUE", single=single
            )
            wrong = wrong or unsafe(alone, mutated, strategy, None, "WARNING" if alone.sequence else "DISABLE_TRADING", single=False)
            assert not wrong, f"seed {seed}, case {done}, {mutation.__name__}: {wrong}: {mutated!r} -> {verdict} / {alone}"
            outcomes[mutation.__name__, "obeyed" if verdict.fresh else "refused", "obeyed" if alone.fresh else "refused"] += 1
            if verdict.fresh or verdict.sequence != body["sequence"]:
                seen = None
            done += 1
    return outcomes


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        try:
            outcomes = fuzz(count, seed, folder)
        except AssertionError as error:
            sys.exit(f"UNSAFE {error}")
    print(f"{count} mutations, seed {seed}, {time.monotonic() - started:.0f} s: none unsafe")
    print(f"{'mutation':<15}{'Gate that saw the valid file':<31}{'Gate that saw nothing':<24}count")
    for (mutation, verdict, alone), number in sorted(outcomes.items()):
        print(f"{mutation:<15}{verdict:<31}{alone:<24}{number}")


if __name__ == "__main__":
    main()
