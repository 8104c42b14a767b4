"""One process works in a data directory: an advisory lock on `data_dir/.lock`.

1. The lock is the kernel's (flock): it ends with the process, however that ends; the file itself says nothing and stays.
2. The file holds who has it (pid and command), for the message of the one that is refused; that text is never trusted for the lock.
3. A lock file deleted and made again is another lock: it is taken on the file that has the name, and `held` tells whether it still does.
4. The descriptor is not inherited by programs started from here; a bare fork would share it.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

LOCK_NAME = ".lock"
_TRIES, _PAUSE = 20, 0.01  # somebody who only asks who has it (`holder`) shares it for a moment


class LockedError(Exception):
    """Another process works in this directory. `pid` is None where it did not say."""

    def __init__(self, path: Path, holder: str) -> None:
        pid, _, command = holder.partition(" ")
        self.path = path
        self.pid = int(pid) if pid.isascii() and pid.isdigit() else None
        who = f"process {self.pid} ({command or 'parityd'})" if self.pid is not None else "another process"
        super().__init__(f"{path.parent} is in use by {who}: end it first, or give this one a data_dir of its own")


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path, flags, 0o640)


def _read(fd: int) -> str:
    return os.pread(fd, 200, 0).decode("utf-8", "replace").split("\n")[0].strip()


def _alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class DirectoryLock:
    """`with DirectoryLock(data_dir, "run"):` or LockedError at once."""

    def __init__(self, data_dir: Path, command: str = "") -> None:
        self.path = data_dir / LOCK_NAME
        self.command = command
        self._fd: int | None = None

    def __enter__(self) -> Self:
        for attempt in range(_TRIES):
            fd = _open(self.path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                refused = LockedError(self.path, _read(fd))
                os.close(fd)
                if attempt + 1 == _TRIES or _alive(refused.pid):
                    raise refused from None
                time.sleep(_PAUSE)
                continue
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
            if self.held():
                break
            os.close(fd)  # the file was replaced between open and lock
            self._fd = None
        else:
            raise LockedError(self.path, "")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {self.command}\n".encode(), 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            os.close(fd)

    def held(self) -> bool:
        """Whether the locked file still is the one that has the name: false after somebody deleted it, or mounted over it."""
        if self._fd is None:
            return False
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))


def holder(data_dir: Path) -> int | None:
    """The pid of the process that works there; 0 where it is unknown, None where there is none. Changes nothing."""
    try:
        fd = os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return LockedError(data_dir / LOCK_NAME, _read(fd)).pid or 0
    finally:
        os.close(fd)
    return None


def hidden(data_dir: Path) -> bool:
    """Whether this user may not see who works there: `holder` says None then, and there may be somebody."""
    try:
        os.close(os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK))
    except PermissionError:
        return True
    except OSError:
        return False
    return False
