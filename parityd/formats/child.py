"""Asks the child process to open a zip, a Parquet or an SQLite file, and reads what it left.

1. The child is a fresh interpreter, not a fork: it holds nothing of ours but the file and an empty temporary one.
2. A child that dies, is over its time, or leaves no whole result means `Unreadable`; nothing of its output is then used.
3. Temporary files have no names; they go when the reading ends.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from parityd.formats.port import Context, Unreadable

_SCRIPT = os.path.join(os.path.dirname(__file__), "unpack.py")
_TAIL = 8
_KEEP = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")


class Slice:
    """A readable window of a file, with a position of its own."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self.fd, self.start, self.size, self.at = fd, start, size, 0

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.at
        data = os.pread(self.fd, left if size < 0 else min(size, left), self.start + self.at)
        self.at += len(data)
        return data

    def seek(self, at: int, whence: int = 0) -> int:
        self.at = at + (self.at if whence == 1 else self.size if whence == 2 else 0)
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The child's output: where it is and what it says of it."""

    file: Any
    index: dict[str, Any]
    size: int

    def slice(self, start: int = 0, size: int | None = None) -> BinaryIO:
        return Slice(self.file.fileno(), start, self.size - start if size is None else size)  # type: ignore[return-value]


def on_disk(stream: BinaryIO, scratch: str | None, closing: ExitStack) -> Any:
    """The bytes as a file with a descriptor, at its start: the stream itself where it is one, else a nameless copy."""
    try:
        os.lseek(stream.fileno(), 0, os.SEEK_SET)
    except (OSError, AttributeError, ValueError):
        copy = closing.enter_context(tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115  # closed by `closing`
        if stream.seekable():
            stream.seek(0)
        while piece := stream.read(1 << 20):
            copy.write(piece)
        copy.flush()
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        return copy
    return stream


def unpack(stream: BinaryIO, container: str, context: Context, closing: ExitStack, **how: Any) -> Unpacked:
    """Let the child open `stream` as `container` (zip, parquet, sqlite). What it gives lives until `closing` closes."""
    limits = context.limits
    seconds = int(limits.child_seconds) + 1
    asked = {"container": container, "memory": limits.child_memory, "seconds": seconds, "expanded": limits.expanded, "how": how}
    out = closing.enter_context(tempfile.TemporaryFile(dir=context.scratch))  # noqa: SIM115  # closed by `closing`
    env = {k: os.environ[k] for k in _KEEP if k in os.environ} | {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with ExitStack() as own:
        packed = on_disk(stream, context.scratch, own)
        try:
            done = subprocess.run(  # noqa: S603  # our own script
                [sys.executable, "-P", _SCRIPT, json.dumps(asked)],
                stdin=packed, stdout=out, stderr=subprocess.PIPE, timeout=limits.child_seconds, env=env, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unreadable("unreadable_file", f"{container}: not opened within {limits.child_seconds:g} s") from None
    if done.returncode != 0:
        raise _why(container, done)
    return _result(out, container)


def _why(container: str, done: "subprocess.CompletedProcess[bytes]") -> Unreadable:
    if done.returncode == 3:
        try:
            said = json.loads(done.stderr.splitlines()[-1])
            return Unreadable(said["code"], f"{container}: {said['reason']}")
        except (ValueError, KeyError, IndexError, TypeError):
            pass
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
    return Unreadable("unreadable_file", f"{container}: the process that opened it died ({how})")


def _result(out: Any, container: str) -> Unpacked:
    fd = out.fileno()
    end = os.fstat(fd).st_size
    length = int.from_bytes(os.pread(fd, _TAIL, end - _TAIL), "big") if end >= _TAIL else -1
    if not 0 < length <= end - _TAIL:
        raise Unreadable("unreadable_file", f"{container}: the process that opened it left no whole result")
    return Unpacked(out, json.loads(os.pread(fd, length, end - _TAIL - length)), end - _TAIL - length)
