"""The sections that decide how the service runs: addresses, schedule, publication, limits, retention, notices, sources.

1. A section says what a value may be and what it means; what contradicts another key is `settings`' to find.
2. A key marked `restart` names something that is opened once: a reload refuses to change it.
3. Users are checked against the machine's accounts here, so that a misspelt operator is found at start and not at 3 a.m.
"""

import contextlib
import datetime as dt
import os.path
import pwd
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from parityd.settings_judgement import Section, key
from parityd.settings_values import Count, Duration, Keep, Kind, Location, NoticeUrl, Size, Text, TimeOfDay, Zone, as_tuple

Action = Literal["CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP"]


class Http(Section):
    """Where the status page, the API and the metrics are served. Nothing here changes anything; keep it off the open network."""

    host: Text = key("127.0.0.1", "Address to listen on.", restart=True)
    port: Annotated[int, Field(ge=0, le=65_535), Kind("port")] = key(9815, "Port to listen on; 0 takes any free one.", restart=True)


class Schedule(Section):
    """When things are done that no file asks for."""

    check_interval: Annotated[Duration, Field(ge=1, le=86_400)] = key(900.0, "Time between two checks; only a check lowers an action.")
    daily_report_time: TimeOfDay = key(dt.time(8), "When yesterday's report is written.")


class Publish(Section):
    """The files that engines obey, and what they mean when they are not renewed."""

    interval: Annotated[Duration, Field(ge=0.1, le=86_400)] = key(15.0, "How often the files are renewed.")
    ttl: Annotated[Duration, Field(ge=0.2, le=86_400)] = key(60.0, "How long a publication is valid; at least twice the interval.")
    on_expiry: Literal["WARNING", "DISABLE_TRADING", "EMERGENCY_STOP"] = key(
        "DISABLE_TRADING", "What an expired, missing or unreadable file means to the engine. WARNING only in advisory mode."
    )
    on_stop: Literal["expire", "disable"] = key(
        "expire", "When parityd is stopped: let the last publication run out, or publish DISABLE_TRADING."
    )
    first_start: Literal["CONTINUE", "DISABLE_TRADING"] = key("CONTINUE", "What is published when parityd starts with no past at all.")
    unknown_strategy: Action = key("CONTINUE", "What a strategy that parityd has never seen is told.")
    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}$"), Kind("name")] | None = key(
        None,
        "Name of this parityd in every publication. Without it one is made at the first start and kept.",
        restart=True,
        example="desk-1",
    )


def _known_user(value: str | int) -> str | int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int):
        if not 0 <= value < 2**32 - 1:
            raise ValueError(f"holds {value}, which is no user id")
        return value
    try:
        pwd.getpwnam(value)
    except KeyError:
        raise ValueError(f"holds {value!r}, which is no user of this machine") from None
    return value


def _is_file(value: Path) -> Path:
    if not os.path.isfile(value):
        raise ValueError("names no file")
    return value


class Overrides(Section):
    """Who may raise risk again. Lowering it is open to whoever can write into the folder."""

    allowed_users: Annotated[tuple[Annotated[str | int, AfterValidator(_known_user)], ...], as_tuple, Kind("list of names or ids")] = key(
        (), "Users beside root and the daemon's own whose force_enable and reset are obeyed.", example=["alice", 1001]
    )
    allowed_signers: Annotated[Location, AfterValidator(_is_file)] | None = key(
        None,
        "File of public keys in the format of ssh-keygen; with it, force_enable and reset must be signed.",
        example="/etc/parityd/allowed_signers",
    )

    def uids(self) -> frozenset[int]:
        """The numeric ids of `allowed_users`, as the machine knows them now; one that it does not know any more is left out."""
        found = set()
        for user in self.allowed_users:
            with contextlib.suppress(KeyError):
                found.add(user if isinstance(user, int) else pwd.getpwnam(user).pw_uid)
        return frozenset(found)


_STORE = re.compile(r"sqlite:///(?!:memory:)[^?#\x00]+")


def _store_url(value: str) -> str:
    if not _STORE.fullmatch(value):
        raise ValueError('must be "sqlite:///" followed by the path of a file')
    return value


class Store(Section):
    """Where the durable truth lies."""

    url: Annotated[str, AfterValidator(_store_url), Kind("address")] = key(
        "sqlite:///{data_dir}/parityd.sqlite", "The SQLite file; `{data_dir}` stands for that key.", restart=True
    )


_SMALLEST = Field(ge=1024)


class Limits(Section):
    """Bounds on what comes in and on what is kept beside it."""

    min_free: Size = key(16 * 1024**2, "Free space below which no new file is read; stops and state are still written.")
    line: Annotated[Size, _SMALLEST] = key(1024**2, "Longest line, in bytes; a longer one is refused as too_long.")
    file: Annotated[Size, _SMALLEST] = key(1024**3, "Largest file as it lies in the spool.")
    expanded: Annotated[Size, _SMALLEST] = key(4 * 1024**3, "Largest content of a compressed file.")
    members: Count = key(1000, "Most members of a zip.")
    nesting: Annotated[int, Field(ge=1, le=1000), Kind("count")] = key(32, "Deepest nesting of a JSON record.")
    strategies: Count = key(1000, "Most strategies; records of further ones are refused.")
    future: Duration = key(300.0, "How far ahead of the clock a timestamp may lie.")
    decoder_memory: Annotated[Size, Field(ge=64 * 1024**2)] = key(
        1024**3, "Memory of the process that decodes Parquet, zip and sqlite files; a file that needs more is set aside."
    )
    spool: Annotated[Size, _SMALLEST] = key(64 * 1024**3, "Size of the unread spool above which parityd calls itself degraded.")
    rejected: Annotated[Size, _SMALLEST] = key(1024**3, "Size of rejected/ above which new refusals are written without their raw text.")


_KEEP = Annotated[Keep, Field(ge=35 * 86_400)]


class Retention(Section):
    """How long things are kept. What a report, a window or the recognition of duplicates still needs is never removed."""

    archive: _KEEP = key(float("inf"), "Accepted files; `rebuild` and `replay` reach back as far as these. At least 35d.")
    trades: _KEEP = key(float("inf"), "Trades in the store. Records older than that are refused as too_old. At least 35d.")
    reports: _KEEP = key(float("inf"), "Daily reports. At least 35d.")


class Notify(Section):
    """Who is told. Addresses are secrets: they are masked wherever settings are shown."""

    urls: Annotated[tuple[NoticeUrl, ...], as_tuple, Kind("list of addresses, secret")] = key(
        (),
        "Apprise addresses of chat, e-mail or paging services. Needs the extra `parityd[notify]`.",
        example=["slack://token-a/token-b/token-c"],
    )


class Source(Section):
    """A file or folder that an engine writes by itself, or what the files of an inbox are. The name is yours to choose."""

    path: Text = key(
        ...,
        "File or folder, or a pattern such as spool/live/fills-*.csv; a relative one lies below data_dir.",
        example="/srv/freqtrade/tradesv3.sqlite",
    )
    book: Literal["live", "backtest"] | None = key(
        None, "Which side it belongs to. An inbox knows it; anything else must say it.", example="live"
    )
    format: Text | None = key(None, "Format of the content, where it should not be recognised by itself.", example="freqtrade")
    strategy: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}$"), Kind("strategy")] | None = key(
        None, "Strategy of its records, where the format names none.", example="momentum"
    )
    mode: Literal["drop", "tail", "poll"] = key("drop", "drop: whole files; tail: lines appended to a log; poll: a database read in place.")
    every: Annotated[Duration, Field(ge=0.1)] = key(2.0, "How often it is looked at.")
    timezone: Zone = key("UTC", "Time zone of its timestamps, where they carry none.")
    columns: dict[Text, Text] = key(
        {}, "For CSV: native field = name of the column.", example={"ts": "Time", "price": "Px", "quantity": "Qty"}
    )


class Log(Section):
    """What is written to standard error."""

    format: Literal["auto", "json", "console"] = key("auto", "auto: console on a terminal, else JSON.", restart=True)
    level: Literal["debug", "info", "warning", "error"] = key("info", "Least severe event that is written.")


class Ingest(Section):
    """How files are decoded."""

    processes: Annotated[int, Field(ge=0, le=1), Kind("0 or 1")] = key(
        0, "1: native lines are decoded in a process beside the main one; faster on a backlog, more memory.", restart=True
    )
