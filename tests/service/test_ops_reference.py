"""The pages say what the program does: printed ones are what would be printed, and every command in the others exists."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from parityd import cli

ROOT = Path(__file__).parent.parent.parent
PRINTED = ROOT / "docs/reference/printed.py"


@pytest.fixture(scope="module")
def printed():
    spec = importlib.util.spec_from_file_location("printed", PRINTED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "metrics.md"])
def test_a_printed_page_is_what_would_be_printed_now(printed, page):
    assert (PRINTED.parent / page).read_text(encoding="utf-8") == printed.PAGES[page](), "python docs/reference/printed.py"


def commands_of(text):
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if "parityd" in words and not line.startswith(
                ("ln ", "useradd", "usermod", "install", "docker build", "docker run", "docker volume", "systemctl")
            ):
                yield (
                    words[len(words) - 1 - words[::-1].index("parityd") + 1 :]
                    if line.startswith("docker exec")
                    else words[words.index("parityd") + 1 :]
                )


@pytest.mark.parametrize("page", ["install.md", "reference/files.md", "reference/commands.md"])
def test_every_command_in_the_pages_exists_with_its_options(page):
    cli.mount()
    root = get_command(cli.app)
    found = list(commands_of((ROOT / "docs" / page).read_text(encoding="utf-8")))
    assert found
    for words in found:
        if (words and words[0].startswith("--")) or "parityd" in words:  # useradd and its like
            continue
        one = root
        while hasattr(one, "commands"):
            assert words, page
            assert words[0] in one.commands, (page, words)
            one, words = one.commands[words[0]], words[1:]
        options = {o for p in one.params for o in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, (page, words)


def test_every_link_leads_somewhere():
    for page in ("install.md", "reference/files.md", "reference/api.md", "reference/commands.md", "reference/metrics.md"):
        path = ROOT / "docs" / page
        for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert not target or (path.parent / target).exists(), (page, target)


def test_every_path_of_the_interface_is_in_its_page():
    from parityd.web import openapi

    text = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    assert [p for p in openapi.document("0")["paths"] if f"`{p}`" not in text] == []
    told = {path for row in re.findall(r"^\| (`/.*?) \|", text, re.MULTILINE) for path in re.findall(r"`(/[^`]*)`", row)}
    assert told == openapi.document("0")["paths"].keys()
