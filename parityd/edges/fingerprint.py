"""The SHA-256 of an open file, found by a thread of its own while the file is decoded.

1. It reads by position: whoever reads the same handle is not disturbed.
2. Afterwards the file is made durable, as its archive will ask for; a disk that refuses is told then, not here.
3. `sha256` waits, and raises what the reading raised. It is asked for before the handle is closed.
"""

import hashlib
import os
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import BinaryIO, Self

STEP = 4 << 20


class Fingerprint:
    """Begins when it is made."""

    def __init__(self, handle: BinaryIO) -> None:
        self._fd = handle.fileno()
        self._found: str | BaseException = RuntimeError("the thread ended without an answer")
        self._thread = Thread(target=self._find, name="fingerprint", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had
            self._find()

    def _find(self) -> None:
        hashed, at = hashlib.sha256(), 0
        try:
            while data := os.pread(self._fd, STEP, at):
                hashed.update(data)
                at += len(data)
            self._found = hashed.hexdigest()
        except BaseException as error:  # noqa: BLE001  whatever it is: there is no answer, and whoever asks is told why
            self._found = error
            return
        with suppress(OSError):
            os.fsync(self._fd)

    def sha256(self) -> str:
        """Of the whole file. OSError where it could not be read."""
        self._wait()
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found

    def _wait(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wait()
