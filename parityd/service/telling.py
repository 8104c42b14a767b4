"""What became of a turn, told to the outside: metrics, log, page and notices.

1. A log event is a fixed dotted name plus fields.
2. Nothing is decided here; what stands in the turn is said, once.
"""

from collections import Counter
from typing import Any

from parityd.service.notices import Notices
from parityd.service.reading import Read
from parityd.service.turns import TurnDone
from parityd.service.views import DeskView
from parityd.web.metrics import Metrics


class Telling:
    """Those who are told. `outer`: what is degraded."""

    def __init__(self, metrics: Metrics, desk: DeskView, log: Any, notices: Notices, outer: dict[str, str]) -> None:
        self.metrics, self.desk, self.log, self.notices, self.outer = metrics, desk, log, notices, outer

    def tell(self, done: TurnDone) -> None:
        """All of a turn."""
        for r in done.reads:
            self._file(r, done)
        if done.failed:
            self.log.error("store.failed", error=done.failed)
        if done.reads:
            self.outer.pop("spool", None)
        if done.stuck:
            self.outer["spool"] = f"files cannot leave it: {done.stuck}"
            self.log.error("file.stuck", error=done.stuck)
        if done.audit:
            self.metrics.audited(done.audit)
        self.changes(done)
        self.metrics.follow(self.desk.action())
        self.desk.change.set()
        self.notices.ring()

    def _file(self, r: Read, done: TurnDone) -> None:
        book = r.waiting.book
        got = done.counted.get(r.counted_as)
        if r.unreadable is not None:
            self.metrics.rejected(book, r.unreadable.code, 1)
            self.log.warning("file.refused", book=book, file=r.waiting.name, code=r.unreadable.code, reason=r.unreadable.reason)
            return
        if got is None or r.batch is None or done.failed:
            return
        self.metrics.files(book, 1)
        self.metrics.duplicates(book, got.duplicates)
        for kind, n in got.accepted.items():
            self.metrics.ingested(book, kind, n)
        refusals = (*r.batch.refusals, *got.refusals)
        codes = dict(Counter(x.code for x in refusals))
        for code, n in codes.items():
            self.metrics.rejected(book, code, n)
            self.desk.refused[code] = self.desk.refused.get(code, 0) + n
        say = self.log.warning if refusals else self.log.info
        say(
            "file.ingested", book=book, file=r.waiting.name, id=r.sha256[:12], format=r.format, records=sum(got.accepted.values()),
            duplicates=got.duplicates, refused=len(refusals), **({"codes": codes} if codes else {}),
        )  # fmt: skip

    def not_published(self, error: OSError, failures: int) -> None:
        """By the publisher's thread: counted at once, told by its log."""
        self.metrics.publish_failed()
        self.log.error("override.failed", error=error.strerror or str(error), failures=failures)

    def folder_remade(self, folder: str) -> None:
        """By the publisher's thread: whoever removed the folder may not know what engines do meanwhile. Told until a check has seen it."""
        self.outer["actions"] = "system_actions was removed: it was made anew, until then every engine was stopped"
        self.log.error("override.folder_remade", folder=folder)

    def changes(self, done: TurnDone) -> None:
        """Its changes of action alone."""
        for x in done.changes:
            say = self.log.warning if x.after != "CONTINUE" else self.log.info
            say("action.changed", strategy=x.strategy, before=x.before, after=x.after, reason=x.reason)
