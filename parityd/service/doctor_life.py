"""Of an installation, what lives: store, trail, spool, port, publication, service manager. Part of `parityd doctor`.

1. It looks and changes nothing: no lock is taken and no store opened for writing; a running daemon is not disturbed.
2. A check that cannot be made here is ok and says so.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from parityd.core.instants import parse_time
from parityd.core.records import BOOKS, NO_TS
from parityd.core.verdicts import Standing
from parityd.edges import clock
from parityd.edges.audit import Tail, verify
from parityd.service.doctor_checks import OK, PROBLEM, WARNING, Check, asked, published, said
from parityd.service.ops_state import reading_store
from parityd.settings import Settings
from parityd.settings_values import format_size
from parityd.store import StoreBroken, StoreUnavailable
from parityd.store.connect import pragmas, quick_check, reading

# --- store and trail ------------------------------------------------------------------------------------------------


def store(settings: Settings) -> Iterator[Check]:
    path = settings.store_path()
    past = any(any((settings.data_dir / name).rglob("*.*")) for name in ("archive", "audit") if (settings.data_dir / name).is_dir())
    if not path.exists():
        if past:
            yield Check(
                area="store",
                state=PROBLEM,
                text=f"{path} is gone, and archive or audit trail are there",
                mend="parityd rebuild, or parityd restore DIR",
            )
        else:
            yield Check(area="store", state=OK, text=f"{path}: none yet, it is made at the first start")
        return
    if settings.data_dir.exists() and os.stat(path).st_uid != os.geteuid():
        return  # said above; looking would leave files of ours beside it
    try:
        with reading(path), reading_store(path) as reads:
            assert reads is not None  # noqa: S101  it is there
            bad = quick_check(reads._db, path.stat().st_size)  # noqa: SLF001  a look at the file, no question to the store
            mode = pragmas(reads._db)["journal_mode"]  # noqa: SLF001
            blob = reads.state("standing")
            files = len(reads.files())
    except StoreBroken as e:
        yield Check(area="store", state=PROBLEM, text=e.what, mend="parityd rebuild, or parityd restore DIR")
        return
    except StoreUnavailable as e:
        yield Check(area="store", state=PROBLEM, text=str(e), mend=f"ls -l {path}*; look who else has it open")
        return
    if bad:
        yield Check(area="store", state=PROBLEM, text=f"{path} is damaged: {bad[0]}", mend="parityd rebuild, or parityd restore DIR")
        return
    yield Check(
        area="store", state=OK, text=f"{path}: whole, {files} files, {format_size(path.stat().st_size // 1024 * 1024)}, journal {mode}"
    )
    yield from _stands(blob)


def _stands(blob: bytes | None) -> Iterator[Check]:
    if blob is None:
        return
    standing = msgspec.msgpack.decode(blob, type=Standing)
    if standing.broken_store:
        yield Check(
            area="standing", state=PROBLEM, text="an earlier store could not be read: trading is disabled",
            mend='parityd rebuild (daemon stopped), then parityd override reset --acknowledge BROKEN_STORE --reason "..."',
        )  # fmt: skip
    if standing.first_start:
        yield Check(
            area="standing", state=WARNING, text=f"first start: {standing.first_start} until init", mend='parityd init --reason "..."'
        )
    for halt in standing.halts:
        yield Check(
            area="standing",
            state=WARNING,
            text=halt.reason,
            mend=f"parityd override unhalt{'' if halt.scope == '*' else ' --strategy ' + halt.scope}",
        )


def trail(settings: Settings, pid: int | None) -> Iterator[Check]:
    folder = settings.data_dir / "audit"
    if not folder.is_dir():
        return
    tail: Tail | None = None
    if pid is None:
        try:
            with reading_store(settings.store_path()) as reads:
                if reads is not None:
                    sequence, last = reads.last_audit()
                    tail = Tail(sequence=sequence, hash=last)
        except (StoreBroken, StoreUnavailable):
            tail = None
    broken = verify(folder, tail)
    if broken is None:
        yield Check(area="audit", state=OK, text="the chain of the trail holds")
    elif broken.at_end:
        yield Check(area="audit", state=WARNING, text=f"{broken.file}: {broken.why}", mend="the next start writes what is missing")
    else:
        yield Check(
            area="audit",
            state=PROBLEM,
            text=f"{broken.file}:{broken.line}: {broken.why}",
            mend="compare with a backup: somebody changed it",
        )


# --- spool, port, publication ---------------------------------------------------------------------------------------


def spool(settings: Settings) -> Iterator[Check]:
    root = settings.data_dir
    for book in BOOKS:
        folder = root / "spool" / book
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
            continue
        found = [
            e.stat(follow_symlinks=False)
            for e in os.scandir(folder)
            if not e.name.startswith(".") and not e.name.endswith((".tmp", ".part"))
        ]
        size = sum(x.st_size for x in found)
        oldest = max(0.0, (clock.now() - min((x.st_ctime_ns for x in found), default=clock.now())) / 1e9)
        state = WARNING if oldest > 300 or size > settings.limits.spool else OK
        mend = "parityd status; is a daemon running, is there space?" if state != OK else ""
        yield Check(area="spool", state=state, text=f"{book}: {len(found)} files wait, the oldest for {oldest:.0f} s", mend=mend)
    rejected = sum(len([n for n in names if not n.endswith(".reason.json")]) for _, _, names in os.walk(root / "rejected"))
    if rejected:
        yield Check(
            area="spool",
            state=WARNING,
            text=f"{rejected} files in rejected/",
            mend=f"ls {root}/rejected/*; mend the cause, then parityd requeue FILE",
        )


def port(settings: Settings, pid: int | None) -> Iterator[Check]:
    host, number = settings.http.host, settings.http.port
    if pid is not None:
        seen = asked(settings, "/healthz")
        if seen is not None:
            yield Check(area="port", state=OK, text=f"{host}:{number} answers" + (f" (process {pid})" if pid else ""))
        else:
            yield Check(
                area="port",
                state=WARNING,
                text=f"process {pid} runs and {host}:{number} does not answer",
                mend="journalctl -u parityd; is [http] the daemon's?",
            )
        return
    if number == 0:
        yield Check(area="port", state=OK, text="[http] port = 0: any free one")
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(address)
    except (OSError, OverflowError) as e:
        yield Check(
            area="port",
            state=PROBLEM,
            text=f"{host}:{number} cannot be had: {getattr(e, 'strerror', None) or e}",
            mend=f"ss -ltnp 'sport = :{number}'; stop that program or set [http] port",
        )
    else:
        yield Check(area="port", state=OK, text=f"{host}:{number} is free")


def publication(settings: Settings, pid: int | None) -> Iterator[Check]:
    told = published(settings)
    expires = parse_time(told["expires_at"]) if isinstance(told.get("expires_at"), str) else NO_TS
    if expires == NO_TS:
        yield Check(area="publication", state=OK, text="nothing has been published yet")
        return
    over = (clock.now() - expires) / 1e9
    text = f"{told.get('action')} (sequence {told.get('sequence')})"
    if pid is None:
        yield Check(
            area="publication", state=OK, text=f"no daemon runs here; {text} " + (f"ran out {over:.0f} s ago" if over > 0 else "still runs")
        )
    elif over > 0:
        why = asked(settings, "/api/v1/status") or {}
        reasons = "; ".join(map(str, why.get("withheld", []))) or "the daemon does not say why"
        yield Check(
            area="publication",
            state=PROBLEM,
            text=f"{text} ran out {over:.0f} s ago: {reasons}",
            mend="parityd status; journalctl -u parityd",
        )
    else:
        yield Check(area="publication", state=OK, text=f"{text} is valid")


# --- systemd --------------------------------------------------------------------------------------------------------


def systemd(environ: Mapping[str, str]) -> Iterator[Check]:
    if not Path("/run/systemd/system").is_dir():
        yield Check(area="systemd", state=OK, text="this machine is not run by systemd")
        return
    program = shutil.which("systemctl")
    if program is None:
        yield Check(area="systemd", state=OK, text="systemctl is not here: nothing to ask")
        return
    wanted = ("LoadState", "ActiveState", "Type", "WatchdogUSec", "Restart", "PrivateUsers", "UnitFileState")
    shown = said(program, "show", "parityd.service", *(f"-p{name}" for name in wanted))
    if shown is None:
        yield Check(area="systemd", state=WARNING, text="systemctl does not answer", mend="systemctl status")
        return
    told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if told.get("LoadState") != "loaded":
        yield Check(area="systemd", state=OK, text="parityd.service is not installed here")
        return
    if told.get("Type") != "notify":
        yield Check(
            area="systemd",
            state=PROBLEM,
            text=f"parityd.service has Type={told.get('Type')}, not notify: no watchdog",
            mend="systemctl edit --full parityd",
        )
    if told.get("PrivateUsers") == "yes":
        yield Check(
            area="systemd", state=PROBLEM, text="PrivateUsers=yes hides who wrote a command", mend="systemctl edit parityd: PrivateUsers=no"
        )
    if told.get("Restart") != "always" or told.get("WatchdogUSec") in ("0", "infinity"):
        yield Check(
            area="systemd", state=WARNING, text="parityd.service has no watchdog, or is not restarted always", mend="systemctl cat parityd"
        )
    if told.get("UnitFileState") not in ("enabled", "static", "enabled-runtime"):
        yield Check(
            area="systemd",
            state=WARNING,
            text="parityd.service is not enabled: it does not start with the machine",
            mend="systemctl enable parityd",
        )
    state = told.get("ActiveState")
    yield Check(
        area="systemd",
        state=OK if state == "active" else WARNING,
        text=f"parityd.service is {state}",
        mend="" if state == "active" else "systemctl start parityd",
    )
    if environ.get("NOTIFY_SOCKET"):
        yield Check(area="systemd", state=OK, text="run by the service manager itself")
