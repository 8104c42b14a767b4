"""The same promises over every format: a sample a format, and what is done to it."""

import gzip
import io
import random
import zlib

import pytest
import zstandard
from formats.samples import SAMPLES, Sample, blocks, counts, refused, said, zipped

from parityd.core.records import CODES
from parityd.formats import FORMATS, Context, Limits, Unreadable, identify, read, texts

LINED = [s for s in SAMPLES if s.name.endswith((".jsonl", ".csv", ".log"))]
PLAIN = [s for s in SAMPLES if not s.name.endswith((".zip", ".parquet", ".sqlite"))]


def by_name(s: Sample) -> str:
    return f"{s.format}-{s.name}"


def of(sample: Sample, data: bytes | None = None, **changes):
    return list(read(io.BytesIO(sample.data if data is None else data), sample.context(**changes)))


@pytest.fixture(params=SAMPLES, ids=by_name)
def sample(request):
    return request.param


def test_every_format_has_a_sample():
    assert {f.name for f in FORMATS} == {s.format for s in SAMPLES}


def test_it_is_recognised_by_its_content(sample):
    assert identify(io.BytesIO(sample.data), sample.context()) == sample.format


def test_its_format_is_told_before_its_first_block(sample):
    told = []
    next(read(io.BytesIO(sample.data), sample.context(), told.append), None)
    assert told == [sample.format]


def test_it_gives_what_it_holds_and_refuses_nothing(sample):
    found = of(sample)
    assert refused(found) == []
    assert counts(found) == sample.counts


def test_reading_it_twice_gives_the_same(sample):
    assert said(of(sample)) == said(of(sample))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_compressed_it_says_the_same(sample, suffix, pack):
    assert said(of(sample, pack(sample.data), name=sample.name + suffix)) == said(of(sample))


@pytest.mark.parametrize("sample", PLAIN, ids=by_name)
def test_in_a_zip_it_says_the_same(sample):
    packed = zipped({f"deep/{sample.name}": sample.data})
    assert said(of(sample, packed, name="any.zip")) == said(of(sample))


@pytest.mark.parametrize("sample", PLAIN, ids=by_name)
def test_a_byte_order_mark_changes_nothing(sample):
    assert said(of(sample, b"\xef\xbb\xbf" + sample.data)) == said(of(sample))


@pytest.mark.parametrize("sample", LINED, ids=by_name)
def test_windows_line_ends_and_blank_lines_change_nothing(sample):
    changed = sample.data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n\r\n")
    assert said(of(sample, changed)) == said(of(sample))


@pytest.mark.parametrize("sample", LINED, ids=by_name)
def test_an_unterminated_last_line_is_a_line(sample):
    assert said(of(sample, sample.data.rstrip(b"\r\n"))) == said(of(sample))


@pytest.mark.parametrize(
    "sample", [s for s in LINED if s.format not in ("fix", "fix_events")], ids=by_name
)  # a log may hold any other line
def test_a_bad_line_costs_only_itself(sample):
    found = of(sample, sample.data.rstrip(b"\r\n") + b'\n\xff{["\n' + b"\n")
    assert counts(found) == sample.counts
    assert [c for _, c in refused(found)] == ["bad_encoding"]


def survives(sample: Sample, data: bytes) -> None:
    """Whatever it holds: blocks with lawful refusals, or one Unreadable."""
    try:
        found = of(sample, data)
    except Unreadable as e:
        assert e.code in ("unreadable_file", "unknown_format", "too_long")
        assert e.reason
        return
    for b in found:
        for r in b.refusals:
            assert r.code in CODES
            assert r.line >= 1
            assert r.reason
            assert len(r.raw.encode()) <= 64 << 10


@pytest.mark.parametrize("sample", PLAIN, ids=by_name)
def test_no_mutation_brings_it_down(sample):
    rng = random.Random(zlib.crc32(sample.name.encode()))
    odd = [
        b"\0",
        b"\xff",
        b"\n",
        b'"',
        b",",
        b"{",
        b"[" * 40,
        b"null",
        b"1e999",
        b"-",
        b"nan",
        b"\\ud800",
        b"9" * 40,
        b"true",
        b"''",
        b"\x01",
    ]
    for _ in range(150):
        data = bytearray(sample.data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(data) + 1)
            cut = rng.choice([0, 0, 1, 3, 30])
            data[at : at + cut] = rng.choice([b"", rng.randbytes(3), *odd])
        survives(sample, bytes(data))


def test_no_truncation_brings_it_down(sample):
    slow = sample.name.endswith((".zip", ".parquet", ".sqlite"))
    for end in range(0, len(sample.data), max(1, len(sample.data) // (6 if slow else 60))):
        survives(sample, sample.data[:end])


@pytest.mark.parametrize("sample", PLAIN, ids=by_name)
def test_pinned_it_is_read_as_what_it_is_said_to_be(sample):
    from parityd.formats import Source

    source = Source(name="src", **{**sample.source, "format": sample.format})
    assert said(of(sample, source=source)) == said(of(sample))


@pytest.mark.parametrize("sample", [s for s in LINED if s.name.endswith(".jsonl") and s.format != "decision_log"], ids=by_name)
def test_the_text_of_a_line_can_be_asked_for_later(sample):
    expected = sample.data.decode().splitlines()
    found = texts(io.BytesIO(sample.data), sample.context(), {1, len(expected)})
    assert found == {1: expected[0], len(expected): expected[-1]}


def test_an_empty_file_has_no_records_and_is_no_error():
    for name in ("e.jsonl", "e.csv", "e.log", "e.json"):
        assert blocks(b"", name) == []
        assert identify(io.BytesIO(b""), Context(book="live", name=name)) == "empty"


@pytest.mark.parametrize("name", ["u.bin", "noname", "x.pkl", "x.tar", "x.gz", ".jsonl.bak", "x.jsonl.xz"])
def test_a_name_of_no_container_is_an_unknown_format(name):
    with pytest.raises(Unreadable) as e:
        blocks(b'{"kind":"mark","symbol":"X","price":1,"ts":1}\n', name)
    assert e.value.code == "unknown_format"


@pytest.mark.parametrize(
    ("name", "data"),
    [("x.jsonl", b'{"foo": 1}\n'), ("x.json", b'{"foo": 1}'), ("x.json", b"5"), ("x.csv", b"a,b\n1,2\n"), ("x.jsonl", b"\0\0\0\n\0"),
     ("x.txt", b"hello\nworld\n"), ("x.zip", zipped({"a.txt": b"hello", "b.json": b"[1]"}))],
)  # fmt: skip
def test_content_that_nobody_knows_is_an_unknown_format(name, data):
    with pytest.raises(Unreadable) as e:
        blocks(data, name)
    assert e.value.code == "unknown_format"


def test_a_file_over_the_limit_is_too_long():
    with pytest.raises(Unreadable) as e:
        blocks(b"x" * 2000, limits=Limits(file=1999))
    assert e.value.code == "too_long"


def test_a_pinned_format_that_does_not_exist_names_the_source():
    from parityd.formats import Source

    with pytest.raises(Unreadable) as e:
        blocks(b"{}\n", source=Source(name="desk", format="nope"))
    assert "desk" in e.value.reason
