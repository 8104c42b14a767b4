"""What a clone promises: locks that hold what pyproject asks for, from hashes alone; a Makefile and CI that say what the README says."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import parityd

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUN = [*PROJECT["project"]["dependencies"], *(ROOT / "requirements/build.in").read_text(encoding="utf-8").split()]
DEV = [*RUN, *PROJECT["dependency-groups"]["dev"], *(r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra)]


def locked(name):
    """Package -> pinned version, of a lock file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s;]+)", text))


@pytest.mark.parametrize(("name", "asked"), [("run.txt", RUN), ("dev.txt", DEV)])
def test_a_lock_holds_every_dependency_in_a_version_that_is_asked_for(name, asked):
    pins = locked(name)
    unmet = [
        r for r in map(Requirement, asked) if not r.specifier.contains(pins.get(canonicalize_name(r.name), "0.dev0"), prereleases=True)
    ]
    assert unmet == [], "make lock"


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_a_lock_is_hashes_and_no_addresses(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for pin in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pin), pin.splitlines()[0]
    assert not re.search(r"://|--(index|extra|find|trusted)", text)


def test_what_is_run_is_what_is_tested():
    run, dev = locked("run.txt"), locked("dev.txt")
    assert {name: dev.get(name) for name in run} == run


def test_every_make_target_that_the_documents_name_exists():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {t for page in pages for t in re.findall(r"(?m)(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert {"run", "test"} <= named <= targets


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == parityd.__version__


def test_ci_runs_lint_and_tests_through_the_same_makefile():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "make lint" in script
    assert "make test" in script
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
