"""The command line as a face: each command teaches with an example, and what answers anything answers in JSON too."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest
from typer.main import get_command

from parityd import cli

NO_ANSWER = {"run", "demo"}  # a daemon and a show


@cache
def commands():
    cli.mount()

    def walk(command, name):
        if hasattr(command, "commands"):
            for word, inner in command.commands.items():
                yield from walk(inner, f"{name} {word}".strip())
        else:
            yield name, command

    return dict(walk(get_command(cli.app), ""))


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_teaches_with_an_example_of_itself(name):
    assert f"parityd {name}" in commands()[name].help.partition("Example:")[2]


@pytest.mark.parametrize("name", sorted(commands().keys() - NO_ANSWER))
def test_what_answers_anything_answers_in_json(name):
    options = {o for p in commands()[name].params for o in p.opts}
    assert "--json" in options and "--config" in options


def completed(config, typed):
    """What bash is offered for the last word of a line."""
    words = f"parityd {typed}"
    env = os.environ | {"_PARITYD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    env |= {"PARITYD_DATA_DIR": str(config)}
    done = subprocess.run([sys.executable, "-m", "parityd"], env=env, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_the_shell_completes_commands_strategies_and_days(tmp_path):
    (tmp_path / "system_actions").mkdir()
    (tmp_path / "system_actions/parity_action.json").write_text(json.dumps({"strategies": {"momentum": {}, "carry": {}}}))
    (tmp_path / "parity_reports").mkdir()
    for day in ("2026-11-18", "2026-11-19"):
        (tmp_path / f"parity_reports/parity_report_{day}.json").touch()
    assert completed(tmp_path, "override force") == ["force_disable", "force_enable"]
    assert completed(tmp_path, "override reset --strategy mo") == ["momentum"]
    assert completed(tmp_path, "report --day 2026-11") == ["2026-11-19", "2026-11-18"]
    assert completed(tmp_path / "not-there", "override reset --strategy mo") == []
