"""`parityd init`: the folders of a first start, and the word that ends its DISABLE_TRADING.

1. Folders are made with the modes and, where these exist and this user may, the groups of production; what is there keeps its mode but for
   the inboxes, which are opened to their groups.
2. Ending the first start raises risk. Beside a daemon, or where commands must be signed, it is a command file (`init`) with all that one
   needs; without a daemon the owner of the folder says it under the lock. It ends nothing else: no stop, no command, no latch.
3. After a broken store it is refused: that takes a reset that acknowledges it. Done twice it is done once.
"""

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from parityd.core.commands import Command
from parityd.edges.files import ensure_folder, replace_durably
from parityd.problem import Problem
from parityd.service import obeying
from parityd.service.ops_override import Asked, operator_name
from parityd.service.ops_rights import INBOX_MODE, INBOXES, OWN_MODE, PRIVATE
from parityd.service.ops_state import state_of
from parityd.service.workplace import App
from parityd.settings import Settings
from parityd.settings_reference import annotated

REASON = "first start looked at"


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that init did, for people."""

    path: Path
    what: str


def become(user: str, root: Path) -> None:
    """As root: give `root` (made where it is missing) to a user, and be that user from here on."""
    try:
        who = pwd.getpwnam(user)
    except KeyError:
        raise Problem(f"--user: there is no user {user!r} on this machine: useradd --system {user}") from None
    if os.geteuid() != 0:
        raise Problem("--user is for root: sudo parityd init --user ...")
    ensure_folder(root, PRIVATE[""])
    if os.stat(root).st_uid != who.pw_uid:
        if any(os.scandir(root)):
            raise Problem(f"{root} holds files of {pwd.getpwuid(os.stat(root).st_uid).pw_name}: sudo chown -R {user} {root}")
        os.chown(root, who.pw_uid, who.pw_gid)
    os.initgroups(user, who.pw_gid)
    os.setgid(who.pw_gid)
    os.setuid(who.pw_uid)


def sample(path: Path, data_dir: Path | None) -> Made:
    """The annotated configuration, with what production starts from; never over a file that is there."""
    if os.path.lexists(path):
        raise Problem(f"{path} is there already: it is not written over")
    text = annotated().replace('first_start = "CONTINUE"', 'first_start = "DISABLE_TRADING"')
    if data_dir is not None:
        text = text.replace('#data_dir = "data"', f'data_dir = "{data_dir}"')
    ensure_folder(path.parent, 0o755)
    replace_durably(path, text.encode(), 0o644)
    return Made(path, "configuration, every key annotated")


def folders(data_dir: Path) -> list[Made]:
    """All folders of the contract."""
    made = []
    for name, mode in PRIVATE.items():
        if not (data_dir / name).is_dir():
            ensure_folder(data_dir / name, mode)
            made.append(Made(data_dir / name, f"folder, mode {mode:04o}"))
    for name, group in INBOXES.items():
        made += _inbox(data_dir / name, group)
    return made


def _inbox(path: Path, group: str) -> list[Made]:
    fresh = not path.is_dir()
    ensure_folder(path, OWN_MODE)
    if _given(path, group, INBOX_MODE):
        if path.parent.name == "spool":  # its writers must get through it
            _given(path.parent, group, OWN_MODE)
        return [Made(path, f"inbox of group {group}, mode {INBOX_MODE:04o}")]
    return [Made(path, f"inbox, mode {OWN_MODE:04o}")] if fresh else []


def _given(path: Path, group: str, mode: int) -> bool:
    """Give a folder to a group, where that exists and this user may; False where nothing was changed."""
    with contextlib.suppress(KeyError):
        gid = grp.getgrnam(group).gr_gid
        facts = os.stat(path)
        if (facts.st_gid, facts.st_mode & 0o7777) != (gid, mode) and (os.geteuid() == 0 or gid in (os.getegid(), *os.getgroups())):
            os.chown(path, -1, gid)
            os.chmod(path, mode)
            return True
    return False


def request(settings: Settings, sign: Path | None, operator: str, reason: str) -> Asked:
    """The command that ends a first start beside a daemon."""
    if settings.overrides.allowed_signers is not None and sign is None:
        raise Problem("overrides.allowed_signers is set, so init must be signed: --sign KEY")
    return Asked(command="init", operator=operator, reason=reason or REASON, sign=sign)


def end_first_start(app: App, operator: str, reason: str) -> str:
    """Without a daemon, under the lock: ended in the store and told in the audit; nothing is published. What was done, in words."""
    b = app.brain
    standing = b.v.standing
    if standing.broken_store:
        raise Problem(
            'the store could not be read: only a reset ends that: parityd override reset --reason "..." --acknowledge BROKEN_STORE'
        )
    if not standing.first_start:
        b.note("service.initialised", operator or operator_name(), None, {"first_start": None})
        return "trading does not wait for init"
    b.publisher = None  # nobody would renew it: the daemon that starts next publishes
    moment = b.moment()
    done = obeying.command(
        b,
        Command(
            command="init", strategy="*", operator=operator or operator_name(), reason=reason or REASON, accepted_ns=moment.now_ns,
            accepted_boottime_ns=moment.boottime_ns, boot_id=moment.boot_id,
        ),
        "parityd init",
    )  # fmt: skip
    if done.failed:
        raise OSError(done.failed)
    return "the first start's DISABLE_TRADING is over: what is judged holds from the next start on"


def waits(settings: Settings) -> bool:
    """Whether trading waits for init, by what the store says (nothing was stored yet: by the configuration)."""
    standing = state_of(settings.store_path())
    return settings.publish.first_start != "CONTINUE" if standing is None else bool(standing.first_start)
