"""A mebibyte put by, so that a stop can be told on a full disk.

1. It lies beside the files that it is for, on their file system, with its blocks allocated.
2. It is given up for a stop alone, and made anew when there is room again; without it everything else works as before.
3. Nothing here raises: a disk that cannot hold it is told of by the free space, not by this.
"""

import contextlib
import os
from pathlib import Path

from parityd.edges.files import free_bytes

NAME = ".reserve"
SIZE = 1 << 20


class Reserve:
    """The file `.reserve` of one folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def keep(self) -> bool:
        """Put it by where it is missing and there is room for more than it; True where it is there."""
        try:
            if os.lstat(self.path).st_size == SIZE:
                return True
        except OSError:
            pass
        try:
            if free_bytes(self.path.parent) < 4 * SIZE:
                return False
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, SIZE)
            finally:
                os.close(fd)
        except OSError:
            self.free()
            return False
        return True

    def free(self) -> bool:
        """Give it up; True where there was something to give."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
            return True
        return False
