"""The child that opens what others packed: zip, Parquet and SQLite -> plain bytes. Run as a script, in a process of its own.

1. It is started with the file as descriptor 0 and an empty file as descriptor 1, and imports nothing of parityd.
2. Memory and time of the processor are limited before a byte is looked at, and no descriptor can be opened once the file is: no network.
3. Output: for a zip its members one after the other, else one JSON object a line; behind it one line of JSON that says what lies where, and
   its length as eight bytes. Whoever finds no such trailer has no result.
4. Exit 0 with a result; 3 with one line on standard error that says why the file cannot be read.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_PIECE = 256 << 10
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".jar", ".whl", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip.gz", ".zip.zst")
_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}


def _give_up(reason: str, code: str = "unreadable_file") -> NoReturn:
    os.write(2, (json.dumps({"code": code, "reason": reason[:500]}) + "\n").encode())
    os._exit(3)


class _Out:
    """Descriptor 1, counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.at = 0
        self.held: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        self.at += len(data)
        if self.at > self.limit:
            _give_up(f"it expands to more than {self.limit} bytes", "too_long")
        self.held.append(data)
        self.size += len(data)
        if self.size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        rest = memoryview(b"".join(self.held))
        while rest:
            rest = rest[os.write(1, rest) :]
        self.held, self.size = [], 0

    def end(self, index: dict[str, Any]) -> None:
        text = json.dumps(index).encode()
        self.held += [text, len(text).to_bytes(8, "big")]
        self.flush()


def _no_more_files() -> None:
    """Nothing can be opened from here on, sockets neither."""
    top = max(int(name) for name in os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, top))


def _unzip(out: _Out, members: int, **_: Any) -> dict[str, Any]:
    import bz2  # noqa: F401  # zipfile asks for them only once no library can be opened any more
    import lzma  # noqa: F401
    import zipfile

    with os.fdopen(0, "rb", closefd=False) as packed, zipfile.ZipFile(packed) as z:
        _no_more_files()
        infos = z.infolist()
        if len(infos) > members:
            _give_up(f"it holds {len(infos)} members, more than {members}")
        index = []
        for info in infos:
            name = info.orig_filename.replace("\\", "/")
            _check_member(info, name)
            if info.is_dir() or name.rpartition("/")[2].startswith("."):
                continue
            start = out.at
            with z.open(info) as member:
                while piece := member.read(_PIECE):
                    out.write(piece)
            index.append([name, start, out.at - start])
    return {"members": index}


def _check_member(info: Any, name: str) -> None:
    if "\0" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        _give_up(f"a member's name leads out of the archive: {name[:100]!r}")
    if info.flag_bits & 0x1:
        _give_up(f"member {name[:100]!r} is encrypted")
    if (info.external_attr >> 16) & 0o170000 == 0o120000:
        _give_up(f"member {name[:100]!r} is a link")
    if name.lower().endswith(_ARCHIVES):
        _give_up(f"member {name[:100]!r} is an archive itself")


def _plain(value: Any) -> Any:
    """A value of a cell as JSON has it: not a number and null are null, what JSON cannot say is text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return None if value != value else value if abs(value) != float("inf") else str(value)  # noqa: PLR0124
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value)


def _moment(ns: int | None, zone: str) -> str | None:
    """Integer nanoseconds as RFC 3339, by integers alone."""
    if ns is None:
        return None
    from datetime import UTC, datetime, timedelta

    whole, rest = divmod(ns, 1_000_000_000)
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}.{rest:09d}{zone}"


def _parquet(out: _Out, naive: str, **_: Any) -> dict[str, Any]:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    rows = 0
    with os.fdopen(0, "rb", closefd=False) as packed:
        file = pq.ParquetFile(packed, pre_buffer=False)
        for batch in file.iter_batches(batch_size=2048, use_threads=False):
            columns = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                kind = column.type
                if pa.types.is_timestamp(kind):
                    step, zone = _UNITS[kind.unit], "Z" if kind.tz else naive
                    ticks = column.cast(pa.int64()).to_pylist()
                    columns.append((name, [None if t is None else _moment(t * step, zone) for t in ticks]))
                else:
                    columns.append((name, [_plain(v) for v in column.to_pylist()]))
            for i in range(batch.num_rows):
                out.write(json.dumps({name: values[i] for name, values in columns}).encode() + b"\n")
            rows += batch.num_rows
    return {"rows": rows, "columns": [str(n) for n in file.schema_arrow.names]}


def _sqlite(out: _Out, tables: list[str], **_: Any) -> dict[str, Any]:
    import sqlite3

    if os.fstat(0).st_nlink:
        db = sqlite3.connect("file:/proc/self/fd/0?mode=ro&immutable=1", uri=True)
    else:  # a copy without a name cannot be opened by one
        with os.fdopen(0, "rb", closefd=False) as file:
            data = bytearray(file.read())
        data[18:20] = b"\1\1" if data[18:20] == b"\2\2" else data[18:20]  # there is no write-ahead log beside it
        db = sqlite3.connect(":memory:")
        db.deserialize(data)
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA cell_size_check=ON")
    db.execute("PRAGMA temp_store=MEMORY")
    db.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    db.set_authorizer(
        lambda action, *_a: sqlite3.SQLITE_OK if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ) else sqlite3.SQLITE_DENY
    )
    there = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    _no_more_files()
    for table in tables:
        if table not in there:
            continue
        cursor = db.execute(f'SELECT * FROM "{table}"')  # noqa: S608  # a name from the caller's own list
        names = [d[0] for d in cursor.description]
        for row in cursor:
            out.write(json.dumps({"table": table, "row": dict(zip(names, map(_plain, row), strict=True))}).encode() + b"\n")
    return {"tables": there}


_HOW: dict[str, Callable[..., dict[str, Any]]] = {"zip": _unzip, "parquet": _parquet, "sqlite": _sqlite}


def _limit(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    asked = json.loads(sys.argv[1])
    _limit(asked["memory"], asked["seconds"])
    out = _Out(asked["expanded"])
    how = _HOW[asked["container"]]
    try:
        index = how(out, **asked["how"])
    except MemoryError:
        _give_up("it needs more memory than allowed")
    except RecursionError:
        _give_up("it is nested too deeply")
    except Exception as e:  # noqa: BLE001  # whatever a damaged file brings about: this process is here to take it
        _give_up(f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'damaged'}")
    out.end(index)


if __name__ == "__main__":
    main()
