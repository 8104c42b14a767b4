"""Mutations of real files: nothing crashes, nothing hangs, nothing is half applied."""

import gzip
import io
import os
import random
import zlib
from pathlib import Path

import pytest

from parityd.core.records import CODES
from parityd.formats import Context, Limits, Source, Unreadable, read

DATA = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = ("nautilus", "freqtrade", "ccxt", "hummingbot", "lean", "fix")
SOURCE = Source(name="fuzz", strategy="mom")
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "3"))
HEAD = 40_000  # of a file of lines: more of the same adds nothing
PIECES = [
    b"",
    b"\0",
    b"\n",
    b'"',
    b"'",
    b",",
    b"{",
    b"}",
    b"[" * 50,
    b"null",
    b"1e999",
    b"NaN",
    b"-1",
    b"\xff\xfe",
    b"\\ud800",
    b"9" * 30,
    b"8=FIX.4.4|",
    b"10=",
    b"\x01",
]


def real_files():
    if not DATA.exists():
        return []
    kept = (".csv", ".jsonl", ".json", ".gz", ".zip", ".sqlite", ".parquet", ".log")
    found = [p for f in FOLDERS for p in sorted((DATA / f).rglob("*")) if p.is_file() and p.suffix in kept and p.stat().st_size < 1_700_000]
    seen, out = set(), []
    for p in found:  # one of each kind of file
        kind = (p.relative_to(DATA).parts[0], p.name.split("-")[0] if p.suffix == ".zip" else p.name.replace("2026", ""))
        if kind not in seen:
            seen.add(kind)
            out.append(p)
    return out


FILES = real_files()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FILES, reason="the real exports are not here")]


def outcome(data: bytes, name: str):
    """What came of it: the number of records and refusals, or the code of the whole file."""
    got = taken = 0
    try:
        for b in read(io.BytesIO(data), Context(book="live", name=name, source=SOURCE, limits=Limits(child_seconds=60))):
            got += sum(len(c) for c in (b.decisions, b.fills) if c is not None) + len(b.rare)
            taken += 1
            for r in b.refusals:
                assert r.code in CODES
                assert r.line >= 1
                assert len(r.raw.encode()) <= 64 << 10
    except Unreadable as e:
        assert e.code in ("unreadable_file", "unknown_format", "too_long")
        assert taken == 0 or name.endswith(".json"), "said after a block was handed out"
        return e.code
    return got


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(DATA)))
def test_mutations_of_real_files_are_survived(path):
    rng = random.Random(zlib.crc32(str(path.relative_to(DATA)).encode()))
    data, name = path.read_bytes(), path.name
    if name.endswith(".gz"):
        data, name = gzip.decompress(data), name.removesuffix(".gz")
    if name.endswith((".csv", ".jsonl", ".log")):
        data = data[:HEAD]
    rounds = ROUNDS if not name.endswith((".zip", ".sqlite", ".parquet")) else max(1, ROUNDS // 2)
    outcome(data, name)
    for _ in range(rounds):
        mutant = bytearray(data)
        for _ in range(rng.choice([1, 2, 10, 60])):
            at = rng.randrange(len(mutant) + 1)
            mutant[at : at + rng.choice([0, 1, 1, 4, 200])] = rng.choice([*PIECES, rng.randbytes(4)])
        outcome(bytes(mutant), name)
    outcome(data[: rng.randrange(len(data))], name)
