"""Verdicts in short, and files that are not exactly right: what the tests of the Gate share."""

from datetime import UTC, datetime, timedelta

from engine.fuzz_gate import encode, entry, publication, rfc


def said(verdict):
    return verdict.action, verdict.trading_enabled, verdict.size_multiplier


DISABLED = ("DISABLE_TRADING", False, 0.0)
STOPPED = ("EMERGENCY_STOP", False, 0.0)
REDUCED = ("REDUCE_SIZE", True, 0.5)


def mutated(**change):
    return encode(publication({"momentum": "CONTINUE"}) | change)


BAD = {
    "an array": b"[]",
    "null": b"null",
    "a byte order mark": b"\xef\xbb\xbf" + encode(publication()),
    "bad UTF-8": encode(publication()).replace(b"as expected", b"as \xff\xfected"),
    "two documents": encode(publication()) * 2,
    "NaN": mutated(ttl_seconds=float("nan")),
    "infinity": mutated(ttl_seconds=float("inf")),
    "a number out of range": encode(publication()).replace(b'"ttl_seconds": 60', b'"ttl_seconds": 1e400'),
    "a sequence of ten thousand digits": encode(publication()).replace(b"1234", b"9" * 10_000),
    "deep nesting": b"[" * 200_000,
    "a key twice": encode(publication({"momentum": "CONTINUE"}))[:-1] + b', "action": "CONTINUE"}',
    "a key twice within an entry": encode(publication({"momentum": "CONTINUE"})).replace(
        b'{"momentum": {', b'{"momentum": {"reason": "", '
    ),
    "a boolean sequence": mutated(sequence=True),
    "a fractional sequence": mutated(sequence=5.0),
    "a negative sequence": mutated(sequence=-1),
    "a boolean size": mutated(size_multiplier=True),
    "a number for trading_enabled": mutated(trading_enabled=1),
    "a size as text": mutated(size_multiplier="1.0"),
    "an unknown action": mutated(action="GO"),
    "an action that is a list": mutated(action=["CONTINUE"]),
    "lower case": mutated(action="continue"),
    "trading enabled against the action": mutated(action="DISABLE_TRADING", size_multiplier=0),
    "trading disabled against the action": mutated(trading_enabled=False),
    "a size over 1": mutated(size_multiplier=1.5),
    "a size under 0": mutated(action="REDUCE_SIZE", size_multiplier=-0.1),
    "a full size that is reduced": mutated(size_multiplier=0.5),
    "a reduced size that is full": encode(publication({"momentum": entry("REDUCE_SIZE", size=1.0)})),
    "a stop with a size": encode(publication({"momentum": entry("DISABLE_TRADING", size=0.5)})),
    "an entry more severe than the top level": mutated(strategies={"momentum": entry("WARNING")}),
    "an entry smaller than the top level": encode(
        publication({"momentum": "REDUCE_SIZE"}) | {"strategies": {"momentum": entry("REDUCE_SIZE", size=0.3)}}
    ),
    "a stop at the top that no entry knows": mutated(**entry("EMERGENCY_STOP")),
    "a contradiction in another entry": mutated(strategies={"momentum": entry(), "carry": entry() | {"trading_enabled": False}}),
    "an entry that is no object": mutated(strategies={"momentum": "CONTINUE"}),
    "strategies as a list": mutated(strategies=[]),
    "an impossible name": mutated(strategies={"momentum": entry(), "": entry()}),
    "expiry later than issue and ttl": mutated(expires_at=rfc(datetime.now(UTC) + timedelta(days=1))),
    "a longer ttl than the expiry": mutated(ttl_seconds=6000),
    "no ttl": mutated(ttl_seconds=0),
    "a time without an offset": mutated(issued_at="2026-11-20T10:15:00"),
    "a day that does not exist": mutated(issued_at="2026-02-30T10:15:00Z"),
    "a time that is a number": mutated(issued_at=1795230273),
    "CONTINUE on expiry": mutated(on_expiry="CONTINUE"),
    "an empty instance": mutated(instance=" "),
    "half a character": mutated(reason="\ud800"),
}
