"""The command line as a face: each command teaches with an example, and what answers anything answers in JSON too."""

from functools import cache

import pytest
from typer.main import get_command

from parityd import cli

NO_ANSWER = {"run", "demo", "init"}  # a daemon, a show, and a conversation


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
