"""`parityd requeue`: refused records, or files that were rejected whole, go back into their inbox.

1. Of a FILE.rejected.jsonl every record becomes part of one new file in `spool/<book>`; only what is durable there leaves `rejected/`.
2. A record is its `raw` text; where that is missing, cut off or not the bytes themselves, it is read once more from the archive. What cannot
   be had stays where it is, and is said.
3. Records of a format that only makes sense as a whole (a decision log, an engine's export) go back as the whole file: what was taken of it
   counts once.
4. The same content was judged before and would be passed by: white space behind the last record makes it another.
5. A file rejected whole is moved, not copied. Nothing is ever in neither place.
"""

import contextlib
import gzip
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from parityd.core.instants import rfc3339
from parityd.core.records import BOOKS
from parityd.edges.files import NAME_BYTES, cut_name, ensure_folder, move_durably, replace_durably, stream_durably, sync_folder
from parityd.formats import Context, Unreadable, identify
from parityd.formats.containers import suffixes
from parityd.formats.port import RAW_BYTES
from parityd.formats.streams import unpacked
from parityd.problem import Problem
from parityd.service.ops_archive import Archived, find, opened
from parityd.settings import Settings

LINES, REASON = ".rejected.jsonl", ".reason.json"
MODE = 0o640
_PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
_TEXT = (".jsonl", ".ndjson", ".csv", ".json", ".log", ".fix", ".txt")
_SUFFIXES = (*_TEXT, ".parquet", ".zip", ".sqlite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """What became of one rejected file. `left`: records that could not be had."""

    file: Path
    into: Path
    records: int  # 0: the file as a whole
    left: int = 0
    note: str = ""


def requeue(settings: Settings, named: Path, now_ns: int) -> Requeued:
    """Put one rejected file back; Problem where it is none or cannot go back."""
    path = _found(settings, named)
    book = path.parent.name
    if path.name.endswith(LINES):
        return _lines(settings, path, book, now_ns)
    return _whole(settings, path, book, now_ns)


def _found(settings: Settings, named: Path) -> Path:
    root = settings.data_dir / "rejected"
    for path in (named, settings.data_dir / named, root / named, *(root / book / named for book in BOOKS)):
        if os.path.lexists(path):
            if path.parent.name in BOOKS and os.path.realpath(path.parent) == os.path.realpath(root / path.parent.name):
                return path.with_name(path.name.removesuffix(REASON)) if path.name.endswith(REASON) else path
            raise Problem(f"{named}: not in {root}/live or {root}/backtest")
    raise Problem(f"{named}: no such file, neither here nor in {root}")


# --- files rejected whole -------------------------------------------------------------------------------------------


def _whole(settings: Settings, path: Path, book: str, now_ns: int) -> Requeued:
    told = path.with_name(path.name + REASON)
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        raise Problem(f"{path}: only its reason is there, the file is gone") from None
    if not stat.S_ISREG(facts.st_mode):
        raise Problem(f"{path}: no regular file, so it would be refused again")
    if facts.st_nlink > 1:
        raise Problem(f"{path}: a file of {facts.st_nlink} links, so it would be refused again: cp it over itself")
    name = path.name
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        name = str(json.loads(told.read_bytes())["name"]) or name
    if "/" in name or name.startswith(".") or name.endswith((".tmp", ".part")):
        name = path.name
    inbox = settings.data_dir / "spool" / book
    target = inbox / name if not os.path.lexists(inbox / name) else inbox / _name(now_ns, name, "")
    move_durably(path, target)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(told)
    sync_folder(path.parent)
    return Requeued(file=path, into=target, records=0)


def _name(now_ns: int, name: str, suffix: str) -> str:
    """NAME with the time before its suffixes, which stay unless another is given: what [sources] says of NAME still fits."""
    stem = name
    while suffixes(stem)[0] in _SUFFIXES or suffixes(stem)[1]:
        stem = os.path.splitext(stem)[0]
    tail = f".requeued-{now_ns}{suffix or name[len(stem) :]}"
    return cut_name(stem, NAME_BYTES - len(tail) - 16) + tail


def mark(now_ns: int) -> bytes:
    """White space that says a number: two files with it differ, and every format passes it by."""
    return b"".join(b" \t"[bit : bit + 1] for bit in ((now_ns >> k) & 1 for k in range(64))) + b"\n"


# --- refused records ------------------------------------------------------------------------------------------------


def _lines(settings: Settings, path: Path, book: str, now_ns: int) -> Requeued:
    rows = _rows(path)
    if not rows:
        raise Problem(f"{path}: it holds no refused record")
    prefix, name = path.name[:12], path.name[13:].removesuffix(LINES)
    original = find(settings.data_dir, book, prefix)
    kind = _kind(settings, original)
    if kind not in ("", "native", "empty"):
        return _original(settings, path, original, len(rows), now_ns)
    suffix = suffixes(name)[0]
    csv = suffix == ".csv"
    taken, left, head = _records(settings, rows, original, csv=csv)
    if csv and not head:
        raise Problem(f"{path}: the header of {name} is needed and the file is no longer in the archive: add it and drop the rows by hand")
    if not taken:
        raise Problem(f"{path}: none of its {len(rows)} records can be had: their text was not kept and the file is not in the archive")
    target = settings.data_dir / "spool" / book / _name(now_ns, name, ".csv" if csv else ".jsonl")
    stream_durably(target, _joined(head, taken, now_ns), MODE)
    _leave(path, left)
    return Requeued(file=path, into=target, records=len(taken), left=len(left))


def _joined(head: bytes, taken: list[bytes], now_ns: int) -> Iterator[bytes]:
    yield head
    for raw in taken:
        yield raw + b"\n"
    yield mark(now_ns)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                if not isinstance(row, dict) or type(row.get("line")) is not int or not isinstance(row.get("raw"), str):
                    raise Problem(f"{path}: line {number} is no refused record")
                rows.append(row)
    except ValueError as e:
        raise Problem(f"{path}: no list of refused records ({e})") from None
    return rows


def _kind(settings: Settings, original: Archived | None) -> str:
    """The format of the original, "" where that cannot be told."""
    if original is None:
        return ""
    try:
        with opened(original, settings.data_dir) as w, w.path.open("rb") as handle:
            return identify(handle, Context(book=original.book, name=w.name))
    except (Unreadable, OSError):
        return ""


def _records(
    settings: Settings, rows: list[dict[str, Any]], original: Archived | None, *, csv: bool
) -> tuple[list[bytes], list[dict[str, Any]], bytes]:
    """(records in order, rows that could not be had, the header of a CSV file)."""
    wanted = {row["line"] for row in rows if _lacks(row)}
    beyond = min((row["line"] for row in rows if "more" in row), default=None)
    texts, head = _from_archive(settings, original, wanted, beyond, csv=csv) if wanted or csv else ({}, b"")
    taken: dict[int, bytes] = {}
    left = []
    for row in rows:
        raw = texts.get(row["line"], b"") if _lacks(row) else row["raw"].encode("utf-8", "surrogatepass")
        if not raw.strip():
            left.append(row)
        else:
            taken[row["line"]] = raw if csv else raw.replace(b"\r", b" ").replace(b"\n", b" ")
    if beyond is not None:
        taken |= {line: raw for line, raw in texts.items() if line >= beyond}
    return [taken[line] for line in sorted(taken)], left, head


def _lacks(row: dict[str, Any]) -> bool:
    """Whether the text of a row is not the record itself."""
    raw = row["raw"]
    return not raw or row.get("code") in ("bad_encoding", "too_long") or len(raw.encode("utf-8", "surrogatepass")) > RAW_BYTES - 8


def _from_archive(
    settings: Settings, original: Archived | None, wanted: set[int], beyond: int | None, *, csv: bool
) -> tuple[dict[int, bytes], bytes]:
    """The bytes of some lines of the original, and its first line where it is a table."""
    if original is None:
        return {}, b""
    found: dict[int, bytes] = {}
    head = b""
    with opened(original, settings.data_dir) as w, w.path.open("rb") as handle:
        suffix, packed = suffixes(w.name)
        if suffix not in (".jsonl", ".ndjson", ".csv"):
            return {}, b""
        for number, line in enumerate(_split(unpacked(handle, packed) if packed else handle), 1):
            if csv and not head and line.strip():
                head = line.rstrip(b"\r\n") + b"\n"
            if number in wanted or (beyond is not None and number >= beyond and line.strip()):
                found[number] = line.rstrip(b"\r\n")
    return found, head


def _split(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(1 << 20):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _leave(path: Path, left: Iterable[dict[str, Any]]) -> None:
    """Keep what could not go back; with nothing left the list goes."""
    body = b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n" for row in left)
    if body:
        replace_durably(path, body, MODE)
    else:
        os.unlink(path)
        sync_folder(path.parent)


# --- formats that are read as a whole -------------------------------------------------------------------------------


def _original(settings: Settings, path: Path, original: Archived | None, records: int, now_ns: int) -> Requeued:
    """The archived file once more, with something behind its end that changes nothing but its hash."""
    if original is None:
        raise Problem(f"{path}: its records mean nothing without their file, which is no longer in the archive")
    with opened(original, settings.data_dir) as w:
        suffix, packed = suffixes(w.name)
        if suffix not in (*_TEXT, ".zip") or (suffix == ".zip" and packed):
            raise Problem(f"{path}: a {suffix}{packed} file cannot be requeued in part: export it once more and drop it")
        target = settings.data_dir / "spool" / original.book / _name(now_ns, w.name, "")
        beside = target.with_name("." + target.name)
        ensure_folder(target.parent)
        shutil.copyfile(w.path, beside)
        try:
            _change(beside, suffix, packed, now_ns)
            os.chmod(beside, MODE)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.rename(beside, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            raise
    sync_folder(target.parent)
    _leave(path, ())
    return Requeued(file=path, into=target, records=records, note="the whole file: what was taken of it counts once")


def _change(path: Path, suffix: str, packed: str, now_ns: int) -> None:
    """Other bytes, the same records."""
    if suffix == ".zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = b"requeued " + rfc3339(now_ns).encode()
        return
    with path.open("ab") as file:
        file.write(_PACK[packed](mark(now_ns)))
