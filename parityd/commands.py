"""Commands that do one thing and end: check, report, explain, status."""

import json
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from parityd.app import App, built, drain, export_audit
from parityd.core.assessing import Facts
from parityd.core.instants import DAY_NS, day_start, day_text
from parityd.edges import clock
from parityd.edges.audit import Tail, verify
from parityd.edges.lock import LockedError, hidden, holder
from parityd.problem import Problem
from parityd.progress import Tell
from parityd.service import configured
from parityd.service.ops_rights import demand_readable
from parityd.service.sources import Sources
from parityd.settings import Settings
from parityd.store.connect import copy, open_reader
from parityd.store.reads import Reads

OPERATORS_NS = 8_000_000_000


def check(settings: Settings, at: int | None, tell: Tell | None = None) -> dict[str, Any]:
    """Drain, evaluate as of `at`, publish once at the wall clock; the content of parity_action.json. `tell` hears how far the spool is drained."""
    with built(settings, command="check") as app:
        b = app.brain
        configured.tell(b, settings)
        _bring(app, at, tell)
        _operators(app)
        done = b.check(now=at, no_better=at is not None)
        if done.failed:
            raise OSError(done.failed)
        b.reporter.write()
        export_audit(app)
        return app.publisher.action


def _bring(app: App, at: int | None, tell: Tell | None) -> None:
    """What lies in the sources and in the spool, to its end."""
    sources, idle = Sources(app), 0
    while idle < 2:
        got = sources.once()
        drain(app, at=at, tell=tell)
        idle = 2 if not got.more else 0 if got.bytes else idle + 1
    app.brain.facts_of = lambda: Facts(degraded=tuple(f"{k}: {v}" for k, v in sorted(sources.degraded.items())))


def _operators(app: App) -> None:
    """HALT and commands found now are obeyed before the check is published. A file that may still be being written is waited for, and a HALT
    that is gone is looked for once more: two successful looks a second apart lift it, as they would in the daemon.
    """
    from parityd.service.operators import Watch

    watch, until = Watch(app), app.boottime() + OPERATORS_NS
    while True:
        watch.look()
        while watch.queue and not any(done.failed or done.stuck for done in watch.settle()):
            pass
        if not (watch.left or watch.state.leaving) or app.boottime() > until:
            return
        time.sleep(0.25)


def report(settings: Settings, day: str) -> dict[str, Any]:
    """The day's report: written where no daemon runs, else computed from a copy of the state and printed only."""
    day = day or day_text(clock.now() - DAY_NS)
    try:
        day_start(day)
    except ValueError:
        raise Problem(f"--day: {day!r} is no day; give YYYY-MM-DD") from None
    if day > day_text(clock.now()):
        raise Problem(f"--day: {day} has not begun")
    try:
        with built(settings, command="report") as app:
            b = app.brain
            now = clock.now()
            b.facts_of = Facts
            b.v.check_only(now, b.facts())
            b.show_all()
            document, ok = b.reporter.of_day(day, now)
            if not ok:
                raise Problem("the report could not be stored")
            export_audit(app)
            return document
    except LockedError:
        return printed(settings, day)


def printed(settings: Settings, day: str) -> dict[str, Any]:
    """Beside a running daemon, which alone may write: the report that it serves, else the one that it wrote, else one made from a copy of its store."""
    from parityd.edges.asking import ask_ours

    try:
        return ask_ours(settings.data_dir, settings.http.host, settings.http.port, f"/api/v1/reports/{day}", 60)
    except (OSError, ValueError):
        path = settings.data_dir / "parity_reports" / f"parity_report_{day}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_bytes())
            return found
    return _from_copy(settings, day)


def _from_copy(settings: Settings, day: str) -> dict[str, Any]:
    """Revision 0: never written."""
    with TemporaryDirectory(prefix="parityd-report-") as scratch:
        path = Path(scratch) / "parityd.sqlite"
        copy(settings.store_path(), path)
        own = {"data_dir": Path(scratch), "store": settings.store.model_copy(update={"url": f"sqlite:///{path}"})}
        with built(settings.model_copy(update=own), command="report") as app:
            b, now = app.brain, clock.now()
            b.v.check_only(now, b.facts())
            b.show_all()
            return b.reporter.make(day, now, revision=0)


def explain(settings: Settings, trade: str, strategy: str) -> list[dict[str, Any]]:
    """Everything known of a trade, by its id or by the name that reports show."""
    from parityd.service.explaining import explain_trade

    if not trade.strip():
        raise Problem("TRADE: it is empty")
    demand_readable(settings)
    return explain_trade(settings, trade, strategy)


def status(settings: Settings) -> dict[str, Any]:
    """What is published, and what a running daemon says of itself."""
    from parityd.edges.asking import STATUS, ask_ours

    folder = settings.data_dir / "system_actions"
    out: dict[str, Any] = {"data_dir": str(settings.data_dir), "daemon": None, "action": None}
    try:
        out["action"] = json.loads((folder / "parity_action.json").read_bytes())
    except (OSError, ValueError):
        out["action"] = None
    pid = holder(settings.data_dir)
    if pid is not None or hidden(settings.data_dir):
        out["daemon"] = {"pid": pid or None}  # it tells its own, where this user may not see it
        try:
            out["daemon"] |= ask_ours(settings.data_dir, settings.http.host, settings.http.port, STATUS, 5)
        except (OSError, ValueError) as e:
            out["daemon"]["http"] = str(getattr(e, "reason", None) or e)
    return out


def verify_audit(settings: Settings, tell: Tell | None = None) -> str:
    """Empty where the chain is whole, else what is broken and where. Beside a running daemon an export may be under way: looked at again."""
    if not settings.data_dir.is_dir():
        raise Problem(f"{settings.data_dir} is not there: name the right configuration with --config")
    demand_readable(settings)
    for attempt in range(3):
        broken = verify(settings.data_dir / "audit", _tail(settings), tell)
        if broken is None:
            return ""
        if holder(settings.data_dir) is None:
            break
        if attempt < 2:
            time.sleep(1.5)
    behind = "; lines that a killed process did not write yet are written by the next start" if broken is not None and broken.at_end else ""
    return f"{broken.file}:{broken.line}: {broken.why}{behind}" if broken is not None else ""


def _tail(settings: Settings) -> Tail | None:
    """The end of the trail as the store knows it; None without a store."""
    path = settings.store_path()
    if not path.exists():
        return None
    db = open_reader(path)
    try:
        sequence, last = Reads(db, str(path), threading.RLock()).last_audit()
        return Tail(sequence=sequence, hash=last)
    finally:
        db.close()
