"""Containers: damage is found before anything is taken, bombs do not go off, and what a zip must not hold is refused whole."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from formats.samples import blocks, column, counts, fill, lines, parquet, refused, zipped

from parityd.formats import Context, Limits, Source, Unreadable, read
from parityd.formats.containers import suffixes

MANY = lines(*[fill(i, fill_id=f"f{i}") for i in range(5000)])


def fails(data: bytes, name: str, **k) -> Unreadable:
    """`Unreadable`, and that before the first block."""
    stream = read(io.BytesIO(data), Context(book="live", name=name, **k))
    with pytest.raises(Unreadable) as e:
        next(stream)
    assert e.value.reason
    return e.value


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JSONL", (".jsonl", "")),
        ("a.b.csv.GZ", (".csv", ".gz")),
        ("x.messages.log", (".log", "")),
        ("x.gz", ("", ".gz")),
        ("x", ("", "")),
    ],
)
def test_the_suffix_picks_the_container(name, expected):
    assert suffixes(name) == expected


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[: len(d) // 2], lambda d: d[:20], lambda d: b"", lambda d: d + b"rubbish",
                                    lambda d: b"x" + d, lambda d: MANY])  # fmt: skip
def test_a_damaged_stream_is_refused_whole_before_the_first_block(suffix, pack, damage):
    assert fails(damage(pack(MANY)), "x.jsonl" + suffix).code == "unreadable_file"


def test_a_flipped_byte_in_a_gzip_is_found_by_its_checksum():
    data = bytearray(gzip.compress(MANY, 0))
    data[len(data) // 2] ^= 1
    assert fails(bytes(data), "x.jsonl.gz").code == "unreadable_file"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_streams_one_behind_the_other_are_one_file(suffix, pack):
    half = len(MANY) // 2
    assert counts(blocks(pack(MANY[:half]) + pack(MANY[half:]), "x.jsonl" + suffix)) == (0, 5000, 0)


def test_zero_padding_behind_a_gzip_is_allowed():
    assert counts(blocks(gzip.compress(MANY) + bytes(512), "x.jsonl.gz")) == (0, 5000, 0)


def test_an_empty_compressed_file_has_no_records():
    assert blocks(gzip.compress(b""), "x.jsonl.gz") == []


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_bomb_is_refused_at_the_limit(suffix, pack):
    bomb = pack(bytes(64 << 20))
    assert fails(bomb, "x.jsonl" + suffix, limits=Limits(expanded=1 << 20)).code == "too_long"


def test_a_zstd_frame_that_wants_a_huge_window_is_refused():
    packed = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)).compressobj()
    data = packed.compress(b"x" * 1000) + packed.flush()
    assert fails(data, "x.jsonl.zst").code == "unreadable_file"


def test_members_of_a_zip_are_files_numbered_on():
    data = zipped(
        {
            "a.jsonl": lines(fill(1), fill(2)),
            "sub/": b"",
            "b.csv": b"",
            ".hidden.jsonl": b"junk",
            "c.jsonl.gz": gzip.compress(lines(fill(3), fill(4, price=0))),
        }
    )
    found = blocks(data, "x.zip")
    assert counts(found) == (0, 3, 0)
    numbers = column(found, "fills", "line")
    assert len(set(numbers)) == 3
    (refusal,) = [r for b in found for r in b.refusals]
    assert refusal.line == max(numbers) + 1
    assert "c.jsonl.gz line 2" in refusal.reason


def test_a_strange_member_is_one_refusal_beside_a_known_one():
    found = blocks(zipped({"a.jsonl": lines(fill(1)), "READ.ME": b"hello"}), "x.zip")
    assert counts(found) == (0, 1, 0)
    assert [c for _, c in refused(found)] == ["unknown_format"]


def encrypted() -> bytes:
    data = bytearray(zipped({"a.jsonl": lines(fill(1))}, zipfile.ZIP_STORED))
    data[6] |= 1
    at = data.rindex(b"PK\1\2")
    data[at + 8] |= 1
    return bytes(data)


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        info = zipfile.ZipInfo("a.jsonl")
        info.external_attr = 0o120777 << 16
        z.writestr(info, "/etc/passwd")
    return out.getvalue()


GOOD = {"good.jsonl": lines(fill(1))}


@pytest.mark.parametrize(
    "data",
    [
        zipped({**GOOD, "in.zip": zipped(GOOD)}), zipped({**GOOD, "in.tar": b"x"}), zipped({**GOOD, "in.zip.gz": b"x"}), zipped({**GOOD, "../x.jsonl": b"{}"}),
        zipped({**GOOD, "a/../../x.jsonl": b"{}"}), zipped({**GOOD, "/etc/x.jsonl": b"{}"}), zipped({**GOOD, "..\\x.jsonl": b"{}"}), zipped({**GOOD, "C:\\x.jsonl": b"{}"}),
        encrypted(), linked(), zipped(GOOD)[:-10], zipped(GOOD)[10:], b"", b"PK\5\6" + bytes(10), MANY,
        zipped({**GOOD, "b.jsonl.gz": gzip.compress(MANY)[:-9]}), zipped({**GOOD, "b.parquet": b"PAR1"}),
    ],
)  # fmt: skip
def test_a_zip_that_is_not_right_is_refused_whole(data):
    assert fails(data, "x.zip").code == "unreadable_file"


def test_a_flipped_byte_in_a_zip_is_found_by_its_checksum():
    data = bytearray(zipped(GOOD, zipfile.ZIP_STORED))
    data[data.index(b"50000")] ^= 1
    assert fails(bytes(data), "x.zip").code == "unreadable_file"


def test_a_zip_of_too_many_members_is_refused_whole():
    assert fails(zipped({f"{i}.jsonl": b"" for i in range(1001)}), "x.zip").code == "unreadable_file"
    assert blocks(zipped({f"{i}.jsonl": b"" for i in range(1000)}), "x.zip") == []


def test_a_zip_bomb_is_refused_at_the_limit_whatever_its_header_says():
    data = bytearray(zipped({"a.jsonl": bytes(8 << 20)}))
    assert fails(bytes(data), "x.zip", limits=Limits(expanded=1 << 20)).code == "too_long"
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", 10)  # says that it is small
    assert fails(bytes(data), "x.zip", limits=Limits(expanded=1 << 20)).code in ("too_long", "unreadable_file")


def test_parquet_keeps_nanoseconds_decimals_and_nulls():
    import decimal

    table = pa.table({
        "kind": pa.array(["fill"] * 3).dictionary_encode(), "strategy": ["s"] * 3, "symbol": ["X/Y"] * 3, "fill_id": [1, 2, 3], "side": ["buy"] * 3,
        "quantity": pa.array([decimal.Decimal("0.1")] * 3), "price": [1.5, 2.5, float("nan")], "fee": [None, 0.5, 0.5],
        "ts": pa.array([1763633700123456789] * 3, pa.timestamp("ns", tz="Europe/Berlin")), "decision_ts": pa.array([1763633700123] * 3, pa.timestamp("ms")),
        "shadow": [True, None, False], "note": [float("inf")] * 3, "day": pa.array([20000] * 3, pa.date32()), "blob": [b"\xff"] * 3, "nest": [{"a": [1]}] * 3,
    })  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=2)
    found = blocks(out.getvalue(), "x.parquet")
    assert refused(found) == [(3, "missing_field")]
    assert column(found, "fills", "ts") == [1763633700123456789] * 2
    assert column(found, "fills", "decision_ts") == [1763633700123000000] * 2
    assert column(found, "fills", "quantity") == [0.1, 0.1]
    assert column(found, "fills", "shadow") == [True, False]


def test_a_parquet_file_without_rows_has_no_records():
    out = io.BytesIO()
    pq.write_table(pa.table({"kind": pa.array([], pa.string())}), out)
    assert blocks(out.getvalue(), "x.parquet") == []


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", MANY, parquet([fill(1)])[:-5], b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1"])
def test_a_damaged_parquet_is_refused_whole(data):
    assert fails(data, "x.parquet").code == "unreadable_file"


def test_a_file_that_needs_more_memory_than_allowed_is_set_aside():
    rows = [{**fill(i), "pad": os.urandom(200).hex()} for i in range(2000)]
    e = fails(parquet(rows), "x.parquet", limits=Limits(child_memory=64 << 20))
    assert e.code == "unreadable_file"


def test_a_child_over_its_time_is_set_aside():
    e = fails(zipped(GOOD), "x.zip", limits=Limits(child_seconds=0.001))
    assert "0.001" in e.reason


def test_packed_parquet_and_zipped_parquet_are_read():
    one = parquet([fill(1)])
    assert counts(blocks(zstandard.compress(one), "x.parquet.zst")) == (0, 1, 0)
    assert counts(blocks(zipped({"a.parquet": one, "b.jsonl": lines(fill(2))}), "x.zip")) == (0, 2, 0)


def test_the_parent_never_loads_what_the_child_is_for(tmp_path):
    (tmp_path / "x.parquet").write_bytes(parquet([fill(1)]))
    code = (
        "import sys\nfrom parityd.formats import *\n"
        f"n = sum(len(b.fills) for b in read(open({str(tmp_path / 'x.parquet')!r}, 'rb'), Context(book='live', name='x.parquet')))\n"
        "bad = {'pyarrow', 'pandas', 'zipfile', 'sqlite3'} & set(sys.modules)\nassert n == 1 and not bad, (n, bad)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd(), env={**os.environ, "PYTHONPATH": os.getcwd()})


def test_a_naive_time_in_parquet_is_of_the_sources_zone():
    out = io.BytesIO()
    base = {
        "client_order_id": "c",
        "trade_id": "1",
        "last_qty": "1",
        "last_px": "2",
        "order_side": "BUY",
        "commission": "",
        "instrument_id": "A.B",
        "strategy_id": "S",
    }
    table = pa.Table.from_pylist([base]).append_column("ts_event", pa.array([0], pa.timestamp("us")))
    pq.write_table(table, out)
    assert column(blocks(out.getvalue(), "f.parquet"), "fills", "ts") == []
    assert refused(blocks(out.getvalue(), "f.parquet")) == [(1, "too_old")]
    table = table.set_column(table.column_names.index("ts_event"), "ts_event", pa.array([10**15], pa.timestamp("us")))
    out = io.BytesIO()
    pq.write_table(table, out)
    berlin = Source(name="b", timezone="Europe/Berlin")
    assert column(blocks(out.getvalue(), "f.parquet"), "fills", "ts") == [10**18]
    assert column(blocks(out.getvalue(), "f.parquet", source=berlin), "fills", "ts") == [10**18 - 7200 * 10**9]


def test_a_json_document_is_lines_where_it_holds_lines():
    assert counts(blocks(lines(fill(1), fill(2)), "x.json")) == (0, 2, 0)


@pytest.mark.parametrize("data", [b"[1,", b"[" * 100_000, b'{"a":', json.dumps([fill(1)]).encode()[:-1], b"\xff\xfe[\0]\0"])
def test_a_broken_json_document_is_refused_whole(data):
    assert fails(data, "x.json").code in ("unreadable_file", "unknown_format")


def test_elements_of_a_document_are_judged_one_by_one():
    data = json.dumps([fill(1), 5, fill(2, price=0), {"kind": "x"}, fill(3)]).encode()
    found = blocks(data, "x.json")
    assert counts(found) == (0, 2, 0)
    assert refused(found) == [(2, "bad_json"), (3, "bad_value"), (4, "unknown_kind")]
    assert all(r.raw for b in found for r in b.refusals)


def test_memory_stays_bounded_however_well_it_is_packed():
    """A stream of zeros by the crumb: what is handed out at once stays small."""
    from parityd.formats.streams import unpacked

    packed = zstandard.compress(bytes(256 << 20))
    stream = unpacked(io.BytesIO(packed), ".zst")
    biggest = max(iter(lambda: len(stream.read(1 << 30)), 0))
    assert biggest <= 40 << 20
    stream = unpacked(io.BytesIO(zlib.compress(bytes(16 << 20), wbits=31)), ".gz")
    assert max(iter(lambda: len(stream.read(1 << 30)), 0)) <= 1 << 20
