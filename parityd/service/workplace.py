"""Everything that was built, as the loops and commands hold it; emptying the spool without a daemon."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from parityd.core.columns import OLDEST
from parityd.core.records import BOOKS
from parityd.edges.audit import AuditFiles
from parityd.edges.publish import Publisher
from parityd.edges.spool import Spool
from parityd.service.brain import Brain
from parityd.service.intake import group
from parityd.settings import Settings
from parityd.store import Store


@dataclass(slots=True)
class App:
    """Everything built."""

    settings: Settings
    store: Store
    spool: Spool
    brain: Brain
    publisher: Publisher
    audit: AuditFiles
    now: Callable[[], int]
    boottime: Callable[[], int]
    broken: str = ""
    instance: str = ""


def drain(app: App, *, at: int | None = None, wait: bool = True, limit: int = 256) -> None:
    """Empty the spool in turns, waiting for files that are still being written."""
    b = app.brain
    tries = 0
    while True:
        found = [app.spool.scan(book, app.now(), limit) for book in BOOKS]
        for scan in found:
            for unfit in scan.refused:
                app.spool.reject_whole(unfit, unfit.code, unfit.reason)
        ready = [list(scan.ready) for scan in found]
        if any(ready):
            for turn in group(*ready):
                reads = [b.reader.read(w, at if at is not None else app.now(), b.is_known, OLDEST) for w in turn]
                done = b.files(reads, now=at)
                if done.failed:
                    raise OSError(done.failed)
            tries = 0
            continue
        left = sum(len(scan.left) for scan in found)
        if not left or not wait or tries > 100:
            return
        tries += 1
        time.sleep(0.1)


def export_audit(app: App) -> None:
    """Put the audit rows of the store into the files."""
    app.audit.export(app.store.audit_rows)
