"""parityd with one part taken out or broken, in a process of its own: `python shim.py NAME[,NAME] COMMAND ... [--then COMMAND ...]`.

These are the negative controls (a guard that is gone must be missed by its test) and the faults that no tool from outside can cause.
"""

import errno
import io
import json
import os
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def plain() -> None:
    """Nothing is changed: several commands in one process."""


def no_fsync() -> None:
    """Nothing is made durable."""
    os.fsync = lambda _fd: None
    from parityd.store import connect

    connect._WRITER["synchronous"] = 0


def no_folder_fsync() -> None:
    """Files are made durable, their names are not."""
    from parityd.edges import files

    files.sync_folder = lambda _folder: None


def no_lock() -> None:
    """Anybody may work in the folder."""
    import fcntl

    fcntl.flock = lambda _fd, _how: None


def no_owner() -> None:
    """Anybody may raise risk."""
    from parityd.edges import overrides

    overrides._authority = lambda *_: None


def no_replay_check() -> None:
    """What was applied once may be applied again."""
    from parityd.edges import overrides

    judged = overrides._state
    overrides._state = lambda *a: None if (found := judged(*a)) is not None and found[0] == "replayed" else found


def no_clock_check() -> None:
    """The two clocks are never compared."""
    from parityd.edges.publish import Publisher

    Publisher.apart_ns = lambda _self: 0


def eager_start() -> None:
    """Permission is renewed before anything was looked at."""
    from parityd.service.signs import Signs

    Signs.withheld = lambda _self: []


def poison() -> None:
    """Reading a file that says so kills the process, as a fault in a decoder would."""
    from parityd.service import reading

    read = reading.read

    def deadly(handle: Any, *rest: Any) -> Any:
        head = handle.read(64)
        handle.seek(0)
        if b"POISON" in head:
            os.kill(os.getpid(), signal.SIGSEGV)
        return read(handle, *rest)

    reading.read = deadly


def bad_record() -> None:
    """One record makes the turn raise."""
    from parityd.core import monitor

    apply = monitor.Monitor.apply

    def raising(self: Any, batches: Any, now: int) -> Any:
        for batch in batches:
            if batch.fills is not None and any("BUG" in x for x in batch.fills.trade_id):
                raise ZeroDivisionError("a bug in the core")
        return apply(self, batches, now)

    monitor.Monitor.apply = raising


def blocked_loop() -> None:
    """The event loop stands still for a minute, a second and a half after the start; a beat is missed after two seconds instead of ten."""
    from parityd.service import signs
    from parityd.service.daemon import Daemon

    signs.BEAT_NS = 2_000_000_000
    beat = Daemon.beat

    async def blocking(self: Any) -> None:
        self._loop.call_later(1.5, time.sleep, 60)
        await beat(self)

    Daemon.beat = blocking


def dead_task() -> None:
    """The operators' task ends after a second."""
    from parityd.service.daemon import Daemon

    async def ending(_self: Any) -> None:
        import asyncio

        await asyncio.sleep(1)
        raise RuntimeError("orders are not taken any more")

    Daemon.orders = ending


def dead_thread() -> None:
    """The publisher's thread ends after two seconds."""
    from parityd.edges.publish import Publisher

    renew, since = Publisher.renew, time.monotonic()

    def ending(self: Any) -> bool:
        if time.monotonic() - since > 2 and threading.current_thread().name == "publisher":
            raise SystemExit
        return bool(renew(self))

    Publisher.renew = ending


def eager_crash() -> None:
    """The process dies in its first turn of files, before the commit."""
    from parityd.store.store import Store

    commit = Store.commit

    def dying(self: Any, c: Any) -> Any:
        if c.files:
            os._exit(17)
        return commit(self, c)

    Store.commit = dying


def slow_turns() -> None:
    """Every turn of files takes a tenth of a second more."""
    from parityd.service.brain import Brain

    files = Brain.files

    def slowly(self: Any, *a: Any, **k: Any) -> Any:
        time.sleep(0.1)
        return files(self, *a, **k)

    Brain.files = slowly


def long_turns() -> None:
    """Every turn of files takes six seconds more, and a scan is too old after two instead of thirty."""
    from parityd.service import feeding, signs
    from parityd.service.brain import Brain

    signs.STALE_SCAN_NS, feeding.SCAN_AGAIN_NS, feeding.SCAN_SECONDS = 2_000_000_000, 500_000_000, 0.2
    files = Brain.files

    def slowly(self: Any, *a: Any, **k: Any) -> Any:
        time.sleep(6)
        return files(self, *a, **k)

    Brain.files = slowly


def full_archive() -> None:
    """No file can leave the spool while `full` stands in the data directory."""
    from parityd.edges.departures import Departures

    archive = Departures.archive

    def refusing(self: Any, *a: Any) -> Any:
        if (self.data_dir / "full").exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(self.data_dir / "archive"))
        return archive(self, *a)

    Departures.archive = refusing


def long_suspend() -> None:
    """The boot-time clock and the wall clock go on by an hour while nothing runs (once, when `suspend` appears)."""
    from parityd.edges import clock

    shift = 0
    wall, boot = clock.now, clock.boottime

    def gone() -> int:
        nonlocal shift
        if not shift and Path(os.environ["SUSPEND"]).exists():
            shift = 3600 * 10**9
        return shift

    clock.now, clock.boottime = lambda: wall() + gone(), lambda: boot() + gone()


def main(argv: list[str]) -> int:
    for name in argv[0].split(","):
        globals()[name]()
    from parityd.cli import main as parityd

    commands: list[list[str]] = [[]]
    for word in argv[1:]:
        if word == "--then":
            commands.append([])
        else:
            commands[-1].append(word)
    if len(commands) == 1:
        return parityd(commands[0])
    config = commands[-1][-2:]
    answers = []
    for words in commands:
        out = io.StringIO()
        with redirect_stdout(out):
            code = run(parityd, [*words, *([] if words[-2:] == config else config)])
        answers.append([code, out.getvalue()])
    print(json.dumps(answers))
    return 0


def run(parityd: Any, words: list[str]) -> int:
    try:
        return int(parityd(words))
    except SystemExit as e:
        return int(e.code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
