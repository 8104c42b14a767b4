"""The child that reads what a process ended over: `python -m parityd.service.trial`, the task on standard input.

1. It writes "-" before a file and "+" after it, each at once: whoever reads that knows which one it died of.
2. What a file merely makes it refuse is no death; what is the machine's fault (no disk, no descriptors) ends it with 3, which says nothing.
3. It is the first that the kernel takes where memory runs out, and it goes with its parent.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from parityd.core.columns import OLDEST
from parityd.edges.spool import Spool
from parityd.edges.waiting import Waiting
from parityd.formats import Limits
from parityd.service.reading import Reader

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def _expendable(parent: int) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(3)


def main() -> int:
    """Read them all."""
    _expendable(os.getppid())
    task = json.load(sys.stdin.buffer)
    data_dir = Path(task["data_dir"])
    reader = Reader(
        Spool(data_dir), Limits(**task["limits"]), {k: SimpleNamespace(**v) for k, v in task["sources"].items()}, task["future_ns"]
    )
    for book, name, key in task["files"]:
        os.write(1, b"-")
        waiting = Waiting(book=book, path=data_dir / "spool" / book / name, name=name, key=tuple(key), since_ns=0)
        try:
            reader.read(waiting, task["now_ns"], lambda _book, _hash: False, OLDEST)
        except OSError:
            return 3
        os.write(1, b"+")
    return 0


if __name__ == "__main__":
    sys.exit(main())
