"""Signs of life: what the renewal of a publication must earn.

1. It is earned while the spool is looked at, checks finish in time, the store can be written, and the worker, the loop and the operators'
   watch move. Each that fails is a reason in words.
2. The publisher's thread asks; those whose signs these are set them. Times are of the boot-time clock.
"""

from parityd.edges.files import unwritable
from parityd.service.inboxes import Inboxes
from parityd.service.operators import Watch
from parityd.service.workplace import App

STALE_SCAN_NS = 30_000_000_000
WAITED_SECONDS = 900.0
CHECK_GRACE_NS = 300_000_000_000
WRITE_AGAIN_NS = 5_000_000_000
STUCK_NS = 120_000_000_000
BEAT_NS = 10_000_000_000


class Signs:
    """Those of a daemon. `outer`: what is degraded."""

    def __init__(self, app: App, inboxes: Inboxes, operators: Watch, outer: dict[str, str]) -> None:
        self.app, self.inboxes, self.operators, self.outer = app, inboxes, operators, outer
        self.started = False  # the files found at the start are evaluated
        self.told_first = False  # and what that gave was published
        self.job_since = 0  # since when the worker is at one job; 0: it waits for one
        self.checked_ns = app.boottime()
        self.beaten_ns = app.boottime()
        self.unwritable = ""  # why the store's disk takes nothing, as it is now
        self.written_ns = app.boottime()

    def withheld(self) -> list[str]:
        """Why a renewal is not earned; [] = it is."""
        boot = self.app.boottime()
        out = []
        if not self.started:
            out.append("starting: the files found are not evaluated yet")
        if boot - self.checked_ns > round(self.app.settings.schedule.check_interval * 1e9) + CHECK_GRACE_NS:
            out.append("no check has finished within its interval and 5 minutes")
        if not self.app.brain.writable or self.unwritable:
            out.append("the store cannot be written" + (f": {self.unwritable}" if self.unwritable else ""))
        if boot - self.inboxes.scanned_ns > STALE_SCAN_NS:
            out.append("the spool has not been scanned for 30 s")
        if self.inboxes.oldest_live is not None and self.inboxes.oldest_live > WAITED_SECONDS:
            out.append("a live file has waited for 15 minutes")
        if self.job_since and boot - self.job_since > STUCK_NS:
            out.append("the worker does not move")
        if boot - self.operators.moved_ns > BEAT_NS:
            out.append("the operators' folder is not being watched")
        if boot - self.beaten_ns > BEAT_NS:
            out.append("the event loop does not move")
        return out

    def not_ready(self) -> list[str]:
        """Why the page and /readyz say no; [] = they say yes."""
        if self.told_first:
            return self.withheld()
        clock = self.outer.get("clock")
        return ["starting: nothing has been published yet", *([clock] if clock else [])]

    def attend(self) -> None:
        """Whether the store can be written, also while nothing comes that would be; and again when it can. In the worker's thread."""
        app = self.app
        app.store.attend()
        try:
            self.unwritable = unwritable(app.settings.store_path().parent)
        except OSError as e:
            self.unwritable = e.strerror or str(e)
        if app.brain.writable or self.unwritable:
            self.written_ns = app.boottime()
        elif app.boottime() - self.written_ns > WRITE_AGAIN_NS:
            self.written_ns = app.boottime()
            app.brain.commit_extras()
