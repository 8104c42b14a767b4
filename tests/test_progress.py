"""Long work says how far it is: on a terminal, on standard error, and nowhere else."""

import os
import pty
import subprocess
import sys

from e2e.box import Box, at, decision, fill, heartbeat


def on_a_terminal(*arguments):
    """(what standard output got, what the terminal behind standard error got) of a command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "parityd", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65_536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    return out.decode(), seen.decode(errors="replace")


def test_check_rebuild_and_verify_show_a_bar_on_a_terminal_and_say_nothing_where_piped(tmp_path):
    box = Box(tmp_path)
    box.drop("backtest", decision("s", "1", at(6)), heartbeat("s", at(20)))
    box.drop("live", fill("s", "1", at(6, 0, 1)), heartbeat("s", at(20)))
    config = ("--config", box.file)
    out, seen = on_a_terminal("check", "--json", *config)
    assert "of 2 files" in seen and out.startswith("{")
    out, seen = on_a_terminal("rebuild", *config)
    assert "of 2 files" in seen and "2 files with 4 records" in out
    out, seen = on_a_terminal("audit", "verify", *config)
    assert "entries" in seen and out == "the audit trail is whole\n"
    piped = box.run("rebuild")
    assert piped.returncode == 0 and piped.stderr == "" and "\x1b" not in piped.stdout
