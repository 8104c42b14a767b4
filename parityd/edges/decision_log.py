"""Decision logs on disk: written as the run goes, read back whole.

1. The file is a complete, valid document after every write: each write carries the document's end, and the next one begins over it. So
   memory stays flat, and a process that dies leaves a log that any JSON reader takes.
2. A write torn by a power cut is read by `load_decision_log` up to the last whole decision, and says so (`truncated`).
3. `<log_directory>/YYYY-MM-DD/<prefix>_<timestamp>_<symbol>.json`, by the wall clock, UTC; characters outside [A-Za-z0-9.-] of the
   symbol become `_`; a name that is taken gets a number. The symbol inside is the full one.
"""

import codecs
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import zstandard

from parityd.core.any_time import any_time
from parityd.core.decision_document import NOTHING, Decision, Execution, PositionState, entry_text, head_text, tail_text
from parityd.core.instants import parse_time, rfc3339
from parityd.core.records import NO_TS
from parityd.edges.clock import now

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")
_NAME_ROOM = 120
EXPANDED = 4 << 30  # bytes, as of a file of the spool
REQUIRED = ("run_id", "strategy_name", "symbol", "decisions")


class DecisionLogError(ValueError):
    """A file that is no decision log: which, and why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def _create(directory: Path, prefix: str, symbol: str, created_ns: int) -> tuple[int, Path]:
    stamp = rfc3339(created_ns)
    folder = directory / stamp[:10]
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{prefix}_{re.sub('[-:]', '', stamp[:19])}Z_{_UNSAFE.sub('_', symbol)[:_NAME_ROOM]}"
    n = 1
    while True:
        path = folder / (f"{stem}.json" if n == 1 else f"{stem}_{n}.json")
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), path
        except FileExistsError:
            n += 1


class DecisionLogger:
    """One symbol's decision log, for a backtest (`write`: text already made) and for live (`log`: one decision). Close it, or use `with`.

    `path` is where it is. OSError: the disk refuses. `durable` makes each decision survive a power cut, at the price of a disk flush each.
    """

    def __init__(
        self,
        log_directory: Path | str,
        *,
        strategy_name: str = "",
        symbol: str,
        run_id: str = "",
        config: Mapping[str, Any] | None = None,
        prefix: str = "bt",
        created_ns: int | None = None,
        head: str = "",
        durable: bool = False,
    ) -> None:
        created = now() if created_ns is None else created_ns
        self.symbol, self.durable = symbol, durable
        self._fd, self.path = _create(Path(log_directory), prefix, symbol, created)
        self._config, self._strategy, self.run_id = dict(config or {}), strategy_name, run_id or self.path.stem
        self._head, self._started = head, bool(head)
        self._last = created
        if head:
            self._last = parse_time(msgspec.json.decode(head + "]}").get("start_time"), naive_is_utc=True)
        self._at = self._count = 0
        self._open = True
        if not self._started:
            self._head = self._make_head(created)
        self._append(self._head)

    def _make_head(self, start_ns: int) -> str:
        return head_text(
            run_id=self.run_id, strategy_name=self._strategy, symbol=self.symbol, start_time=rfc3339(start_ns), config=self._config
        )

    def _append(self, text: str, metrics: Mapping[str, Any] | None = None) -> None:
        body = text.encode()
        end = tail_text(end_time=rfc3339(self._last), metrics=metrics).encode()
        written = os.pwritev(self._fd, [body, end], self._at)
        if written < len(body) + len(end):  # a signal or a full disk: the rest, or the error
            rest = memoryview(body + end)[written:]
            while rest:
                written += os.pwrite(self._fd, rest, self._at + written)
                rest = memoryview(body + end)[written:]
        self._at += len(body)
        if self.durable:
            os.fsync(self._fd)

    def write(self, text: str, last_ts: int) -> None:
        """Append decisions already made text and parted by commas; `last_ts` (ns) is the last one's time."""
        if not self._open:
            raise ValueError(f"{self.path}: the log is closed")
        if not self._started:
            self._started, self._at = True, 0  # the start is the first decision's time, known only now
            self._head = self._make_head(last_ts)
            self._append(self._head)
        self._last = last_ts
        self._append(f",{text}" if self._count else text)
        self._count += 1

    def log(
        self,
        *,
        timestamp: object,
        current_mark: float,
        recent_marks: Sequence[float],
        position_state: PositionState | Mapping[str, Any],
        equity: float,
        decision: Decision,
        execution: Execution = NOTHING,
        symbol: str = "",
    ) -> None:
        """Append one decision. `timestamp`: ns, seconds, RFC 3339 or datetime. ValueError: it is no time."""
        ts = any_time(timestamp)
        if ts == NO_TS:
            raise ValueError(f"timestamp: {timestamp!r} is not a time")
        text = entry_text(
            timestamp=rfc3339(ts), symbol=symbol or self.symbol, current_mark=current_mark, recent_marks=recent_marks,
            position_state=position_state, equity=equity, decision=decision, execution=execution,
        )  # fmt: skip
        self.write(text, ts)

    def close(self, metrics: Mapping[str, Any] | None = None) -> None:
        """End the document; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._append("", metrics)
            os.ftruncate(self._fd, self._at + len(tail_text(end_time=rfc3339(self._last), metrics=metrics).encode()))
            if self.durable:
                os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_bytes(path: Path) -> bytes:
    """A file's content, `.gz` and `.zst` expanded. OSError: it cannot be read, or is not what its suffix says."""
    raw = path.read_bytes()
    try:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
                return _bounded(stream.read)
        if path.suffix == ".zst":
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True) as stream:
                return _bounded(stream.read)
    except (EOFError, zlib.error, zstandard.ZstdError) as e:
        raise OSError(f"cannot be expanded: {e}") from None
    return raw


def _bounded(read: Callable[[int], bytes]) -> bytes:
    """The whole of it, piece by piece. OSError: it expands without end."""
    parts: list[bytes] = []
    size = 0
    while part := read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > EXPANDED:
            raise OSError(f"expands to more than {EXPANDED >> 30} GiB")
    return b"".join(parts)


def _salvage(text: str) -> dict[str, Any] | None:
    """What a torn document still holds: its head, and its decisions up to the last whole one."""
    start = re.search(r'"decisions"\s*:\s*\[', text)
    if start is None:
        return None
    try:
        document = json.loads(text[: start.end()] + "]}")
    except ValueError:
        return None
    decisions: list[Any] = []
    decoder, at = json.JSONDecoder(), start.end()
    while True:
        while at < len(text) and text[at] in " ,\r\n\t":
            at += 1
        try:
            one, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        decisions.append(one)
    document["decisions"], document["truncated"] = decisions, True
    return dict(document) if isinstance(document, dict) else None


def _parsed(raw: bytes) -> Any:
    """A document: as it stands, else with the NaN and Infinity that some writers put where no number is, else what a torn one still holds."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as e:
        text = raw.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            found = _salvage(text)
        if found is None:
            raise ValueError(str(e)) from None
        return found


def load_decision_log(path: Path | str) -> dict[str, Any]:
    """A decision log as its JSON document; a torn one up to its last whole decision, with `truncated`. DecisionLogError: it is none."""
    where = Path(path)
    try:
        raw = read_bytes(where)
    except OSError as e:
        raise DecisionLogError(path, e.strerror or str(e)) from None
    try:
        document = _parsed(raw.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError as e:
        raise DecisionLogError(path, f"not UTF-8: {e.reason} at byte {e.start}") from None
    except RecursionError:
        raise DecisionLogError(path, "not a decision log: nested too deeply") from None
    except ValueError as e:
        raise DecisionLogError(path, f"not a decision log: {e}") from None
    if not isinstance(document, dict):
        raise DecisionLogError(path, "not a decision log: the document is not an object")
    for name in REQUIRED:
        if name not in document:
            raise DecisionLogError(path, f"not a decision log: {name} is missing")
    if not isinstance(document["decisions"], list):
        raise DecisionLogError(path, "not a decision log: decisions is not a list")
    return document
