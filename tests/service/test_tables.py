"""The tables of the command line: whole and plain where piped, fitting and coloured on a terminal, and never taken in by what a record says."""

import io

import pytest
from rich.console import Console

from parityd.core.instants import parse_time
from parityd.service import tables

LONG = "mean-reversion.eu-equities.small-caps@venue-7:long-short.v2026"
EVIL = "[/] [bold]x[/bold] [link=http://x]"


def entry(action, reason, **more):
    return {
        "action": action, "size_multiplier": 0.5, "since": "2026-11-20T07:00:00Z", "reason": reason, "metrics": {"tracking_error_bps": 62.1234},
        "trades": {"matched": 40, "missed": 1, "unexpected": None}, **more,
    }  # fmt: skip


@pytest.fixture
def document():
    strategies = {"calm": entry("CONTINUE", "nothing found"), LONG: entry("EMERGENCY_STOP", f"{LONG}: {EVIL}\nnext line")}
    return {"action": "EMERGENCY_STOP", "issued_at": "2026-11-20T10:15:00Z", "expires_at": "2026-11-20T10:16:00Z", "on_expiry": "DISABLE_TRADING",
            "reason": EVIL, "strategies": strategies}  # fmt: skip


def printed(monkeypatch, document, *, terminal, width=80):
    out = io.StringIO()
    monkeypatch.setattr(
        tables,
        "console",
        lambda: Console(file=out, force_terminal=terminal, width=width, markup=False, highlight=False, no_color=not terminal),
    )
    tables.action_table(document)
    return out.getvalue()


def test_piped_it_is_one_whole_line_a_strategy_the_worst_first(monkeypatch, document):
    lines = printed(monkeypatch, document, terminal=False).splitlines()
    assert lines[0].split() == ["strategy", "action", "size", "since", "error", "bps", "matched", "missed", "unexp.", "why"]
    assert lines[1].split()[:8] == [LONG, "EMERGENCY_STOP", "0.50", "3", "h", "62.12", "40", "1"]
    assert lines[1].endswith(f"{EVIL} next line") and lines[2].startswith("calm ")
    assert lines[3].startswith("in force: EMERGENCY_STOP until 2026-11-20T10:16:00Z")
    assert "\x1b" not in "".join(lines) and not any(c in "".join(lines) for c in "│┃…")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_on_a_terminal_it_fits_and_no_action_is_cut(monkeypatch, document, width):
    text = printed(monkeypatch, document, terminal=True, width=width)
    assert "EMERGENCY_STOP" in text and "\x1b[" in text and "…" not in text
    plain = Console(width=width).render_str
    table = [x for x in text.splitlines() if not x.startswith("in force")]
    assert max(len(line) for line in (str(plain(x, markup=False)) for x in table) if "\x1b" not in line) <= width


def test_an_expired_publication_and_a_daemon_in_trouble_are_said(monkeypatch, document):
    out = io.StringIO()
    monkeypatch.setattr(tables, "console", lambda: Console(file=out, width=80, markup=False))
    tables.status_table(
        {"daemon": {"pid": 7, "not_ready": [EVIL], "degraded": ["notify: x"], "backlog": {"live": 3}}, "action": document, "data_dir": "d"}
    )
    said = out.getvalue()
    assert "the publication expired" in said and "DISABLE_TRADING" in said and f"not ready: {EVIL}" in said and "live 3" in said


def test_since_when_is_of_now_although_nothing_was_published_for_hours(monkeypatch, document):
    out = io.StringIO()
    monkeypatch.setattr(tables, "console", lambda: Console(file=out, width=200, markup=False))
    monkeypatch.setattr(tables.clock, "now", lambda: parse_time("2026-11-22T10:15:00Z"))
    tables.status_table({"daemon": None, "action": document, "data_dir": "d"})
    assert "2 d" in out.getvalue().splitlines()[3], out.getvalue()
