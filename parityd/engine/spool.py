"""Drops records into parityd's inbox so that a file is there whole and durable, or not at all.

1. All records are encoded before a file is made: a record that cannot be told in JSON leaves nothing behind.
2. One file a call: `.name` in the same folder, fsync, rename, fsync of the folder. A call that returned survives a power cut.
3. Names are `<nanoseconds>-<pid>-<counter>.jsonl`, in the order of writing within a process, unique among threads and processes.
4. After an error the records may or may not be there: write them again, parityd counts the same record once.
The folder is never made here: a spool that is not mounted must be seen.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

MAX_LINE = 1 << 20
_MODE = 0o640  # parityd reads as the folder's group where the engine is another user, whatever the engine's umask
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_START = time.time_ns() - time.clock_gettime_ns(_BOOTTIME)  # names keep their order when the wall clock is set back
_COUNTER = count(1)


class Spool:
    """`Spool(folder)`: folder is `spool/live` or `spool/backtest`. One object may serve all threads, also after a fork."""

    __slots__ = ("folder",)

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(folder))

    def __repr__(self) -> str:
        return f"Spool({str(self.folder)!r})"

    def write(self, records: Iterable[Mapping[str, Any]]) -> Path | None:
        """One file with these records, a JSON object a line; its path, or None where there was nothing to write.

        Datetimes (aware) become RFC 3339 in UTC, Decimals text. Raises ValueError for what JSON cannot tell, OSError when the
        file could not be made durable.
        """
        if isinstance(records, Mapping):
            raise TypeError("write() takes records, not one record: write([record])")
        return self.write_lines([encode(record, f"record {number}") for number, record in enumerate(records, 1)])

    def write_lines(self, lines: list[bytes]) -> Path | None:
        """As `write`, of lines that `encode` made."""
        if not lines:
            return None
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor, name = _create(folder)
            try:
                _fill(descriptor, lines)
                os.rename(f".{name}", name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(f".{name}", dir_fd=folder)
                raise
            os.fsync(folder)
        finally:
            os.close(folder)
        return self.folder / name


def encode(record: Mapping[str, Any], name: str = "record") -> bytes:
    """One line, with its end. Raises ValueError that names the record and the field."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{name} is no mapping but {type(record).__name__}")  # noqa: TRY004  one error for whatever cannot be written
    try:
        line = _dump(dict(record)) + b"\n"
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{name}: {_culprit(record) or error}") from None
    if len(line) > MAX_LINE:
        raise ValueError(f"{name}: longer than {MAX_LINE} bytes")
    return line


def _create(folder: int) -> tuple[int, str]:
    """A new temporary file, and the free name that it reserves: nobody else can rename to it meanwhile."""
    while True:
        name = f"{_START + time.clock_gettime_ns(_BOOTTIME):019d}-{os.getpid()}-{next(_COUNTER):09d}.jsonl"
        try:
            descriptor = os.open(f".{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=folder)
        except FileExistsError:
            continue
        try:
            os.lstat(name, dir_fd=folder)
        except FileNotFoundError:
            return descriptor, name
        os.close(descriptor)
        os.unlink(f".{name}", dir_fd=folder)


def _fill(descriptor: int, lines: list[bytes]) -> None:
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, _MODE)
        file.writelines(lines)
        file.flush()
        os.fsync(descriptor)


def _dump(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    """What JSON does not know; called by the encoder."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a datetime without an offset")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > 400:  # beyond what any float holds
            raise ValueError(f"{value} is no finite number")
        return format(value, "f")
    if isinstance(value, Enum):
        return value.value
    if callable(item := getattr(value, "item", None)):  # a scalar of numpy and its kin
        return item()
    raise TypeError(f"{type(value).__name__} cannot be told in JSON")


def _culprit(record: Mapping[str, Any]) -> str | None:
    for key, value in record.items():
        try:
            _dump({key: value})
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            return f"{key!s}: {error or type(error).__name__}"
    return None
