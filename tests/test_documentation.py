"""The documentation keeps its promises: links lead somewhere, commands exist with their options, marked blocks run, the site builds."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.main import get_command

from parityd import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "data/sample/README.md"])
FENCE = re.compile(r"(?ms)^( *)```(\w*)[^\n]*\n(.*?)^\1```")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
RUN = re.compile(r"(?ms)^<!-- run -->\n```(?:sh|python)\n(.*?)^```")
BEFORE = re.compile(r"sudo|setpriv|runuser|time|parityd|--?[\w-]+|[A-Z_]+=.*")  # what may stand before a call
LARGEST_PICTURE = 150_000
if "notify" not in get_command(cli.app).commands:
    cli.mount()
ROOT_COMMAND = get_command(cli.app)


def name(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """Without code blocks and code spans: what stands there is no link."""
    return re.sub(r"`[^`\n]*`", "``", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page):
    """The anchors that headings get, on the site and in a repository's browser alike."""
    found = []
    for heading in re.findall(r"(?m)^#+ +(.+?) *$", FENCE.sub("", page.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.append(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def commands(page):
    """Every call of parityd in a shell block, as words."""
    text = page.read_text(encoding="utf-8")
    for _, language, block in FENCE.findall(text):
        if language in ("sh", "bash", "shell", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True) if "<<" not in line else []
                for at in reversed([i for i, word in enumerate(words) if word == "parityd" or word.endswith("/bin/parityd")]):
                    if all(BEFORE.fullmatch(word) for word in words[:at]):
                        rest = words[at + 1 :]
                        end = next((i for i, word in enumerate(rest) if word in ("&&", "||", "|", ">", ";", "&")), len(rest))
                        yield line.strip(), rest[:end]
                        break


def unknown(words):
    """What of a call the command line does not know; "" where it knows all of it."""
    command = ROOT_COMMAND
    while words and getattr(command, "commands", None):
        if words[0] in ("--help", "--install-completion"):
            return ""
        if words[0] not in command.commands:
            return words[0]
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return next((w for w in words if w.startswith("--") and w.partition("=")[0] not in known), "")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists_with_the_options_it_is_shown_with(page):
    assert [line for line, words in commands(page) if unknown(words)] == []


def test_a_misspelt_command_or_option_would_be_noticed():
    assert [unknown(w.split()) for w in ("chek", "check --jsno", "config shwo", "check --json", "config show")] == [
        "chek",
        "--jsno",
        "shwo",
        "",
        "",
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_python_is_python(page):
    for _, language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in ("python", "py"):
            ast.parse(block)


@pytest.mark.parametrize("page", [p for p in PAGES if RUN.search(p.read_text(encoding="utf-8"))], ids=name)
def test_blocks_marked_to_be_run_do_run(page, tmp_path):
    """In their order, in one shell, in an empty folder."""
    script = "set -eu\n" + "\n".join(RUN.findall(page.read_text(encoding="utf-8")))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "parityd").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m parityd "$@"\n')
    (programs / "parityd").chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PARITYD")} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "COLUMNS": "160",
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(["bash", "-c", script], cwd=work, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if page.name == "index.md":
        for said in ("in force: CONTINUE", "t-1", "EMERGENCY_STOP", "the audit trail is whole"):
            assert said in done.stdout, done.stdout


def test_pictures_are_small_and_each_is_shown():
    pictures = sorted((ROOT / "docs/pictures").glob("*.png"))
    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > LARGEST_PICTURE] == []
    shown = {Path(link).name for page in PAGES for link in LINK.findall(prose(page)) if link.endswith(".png")}
    assert {p.name for p in pictures} == shown


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    if find_spec("mkdocs") is None or find_spec("material") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("mkdocs-material is not installed")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(ROOT / "mkdocs.yml"),
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "pictures/status.png" in built
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"', built)
    assert [x for x in fetched if "canonical" not in x] == []
    shutil.rmtree(tmp_path / "site")
