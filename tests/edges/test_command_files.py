"""The folder of commands: read once, moved away, nothing overwritten."""

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from parityd.core.instants import rfc3339
from parityd.edges import command_files
from parityd.edges.command_files import CommandFolder, to_be_left, write_command
from parityd.edges.commands import Accepted, Moment, Refused, Standing, Terms
from parityd.edges.overrides import content_hash, judge
from parityd.edges.signatures import verify

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes owners")
STOP = {"command": "force_disable", "strategy": "*", "operator": "ops", "reason": "drill"}


@pytest.fixture
def box(tmp_path):
    folder = tmp_path / "overrides"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    return CommandFolder(folder)


def drop(box, name, body=STOP, mode=0o644):
    hidden = box.folder / ("." + name[-100:])
    hidden.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
    hidden.chmod(mode)
    hidden.rename(box.folder / name)
    return box.folder / name


def names(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def only(box):
    (letter,) = box.read().letters
    return letter


def test_only_command_files_are_read(box):
    for name in ("a.json", "B.JSON", ".c.json", "d.json.tmp", "e.part", "HALT.json", "halt.json", "note.txt", "a.json.sig"):
        drop(box, name)
    assert sorted(letter.name for letter in box.read().letters) == ["B.JSON", "a.json"]


def test_facts_are_those_of_file_and_folder(box):
    drop(box, "a.json", mode=0o640)
    box.folder.chmod(0o3770)
    post = box.read()
    assert (post.folder.mode, post.letters[0].facts.mode, post.letters[0].facts.uid) == (0o3770, 0o640, os.getuid())
    assert json.loads(post.letters[0].raw) == STOP


@needs_root
def test_the_owner_is_a_number_from_the_descriptor(box):
    os.chown(drop(box, "a.json"), 4711, 42)
    assert (only(box).facts.uid, only(box).facts.gid) == (4711, 42)


def test_letters_come_in_the_order_in_which_they_were_written(box):
    for k, name in enumerate(("z.json", "m.json", "a.json")):
        os.utime(drop(box, name), (1e9 + k, 1e9 + k))
    assert [letter.name for letter in box.read().letters] == ["z.json", "m.json", "a.json"]


def test_what_is_no_file_is_refused_unopened_and_moved_away(box, tmp_path):
    (tmp_path / "secret").write_text(json.dumps(STOP))
    (box.folder / "link.json").symlink_to(tmp_path / "secret")
    os.mkfifo(box.folder / "fifo.json")
    (box.folder / "dir.json").mkdir()
    letters = box.read().letters
    assert [letter.problem.code for letter in letters] == ["unreadable_file"] * 3
    for letter in letters:
        box.finish(letter, "refused", letter.problem.code, letter.problem.text)
    assert names(box.folder) == ["refused"]
    assert len(names(box.folder / "refused")) == 6
    assert (tmp_path / "secret").exists()


def test_a_file_without_end_is_not_read(box):
    with drop(box, "big.json", b"").open("wb") as f:
        f.truncate(1 << 40)
    assert only(box).problem.code == "too_long"


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/nowhere", path)], ids=["folder", "fifo", "link"])
def test_what_lies_in_the_place_of_a_signature_silences_nobody(box, make):
    drop(box, "a.json")
    make(box.folder / "a.json.sig")
    drop(box, "b.json")
    before = descriptors()
    for _ in range(3):
        post = CommandFolder(box.folder).read()
        assert [(letter.name, letter.signature) for letter in post.letters] == [("a.json", None), ("b.json", None)]
        assert not post.error
    assert descriptors() == before
    box.finish(post.letters[0], "refused", "unsigned", "")


def test_a_file_that_its_owner_keeps_others_from_opening_silences_nobody(box):
    with drop(box, "a.json").open("r+b") as held:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        old = signal.signal(signal.SIGIO, signal.SIG_IGN)  # the holder of a lease is told that somebody wants to open
        drop(box, "b.json")
        post = box.read()
        signal.signal(signal.SIGIO, old)
    assert [letter.name for letter in post.letters] == ["b.json"]
    assert "a.json" in post.error
    assert [letter.name for letter in box.read().letters] == ["a.json", "b.json"]


def test_a_missing_folder_is_an_error_as_a_value(box):
    box.folder.rmdir()
    assert "No such file" in box.read().error


def test_applied_and_refused_files_go_where_the_contract_says(box):
    drop(box, "a.json")
    box.finish(only(box), "applied")
    drop(box, "b.json", b"junk")
    box.finish(only(box), "refused", "bad_json", "it is no JSON", ts="2026-11-20T10:15:00Z")
    assert names(box.folder / "applied") == ["a.json"]
    assert names(box.folder / "refused") == ["b.json", "b.json.reason.json"]
    told = json.loads((box.folder / "refused/b.json.reason.json").read_text())
    assert told == {
        "code": "bad_json",
        "name": "b.json",
        "reason": "it is no JSON",
        "sha256": content_hash(b"junk"),
        "ts": "2026-11-20T10:15:00Z",
    }


def test_one_name_used_again_overwrites_nothing(box):
    for body in (b"one", b"two", b"two", b"three"):
        drop(box, "a.json", body)
        box.finish(only(box), "refused", "bad_json", "x")
    kept = [p.read_bytes() for p in (box.folder / "refused").glob("*a.json")]
    assert sorted(kept) == [b"one", b"three", b"two"]


def test_finishing_twice_is_finishing_once(box):
    drop(box, "a.json")
    letter = only(box)
    assert box.finish(letter, "applied") == box.finish(letter, "applied")
    assert names(box.folder / "applied") == ["a.json"]


def test_a_command_written_over_a_judged_one_is_not_moved_unread(box):
    drop(box, "a.json")
    letter = only(box)
    drop(box, "a.json", STOP | {"reason": "other"})
    assert box.finish(letter, "applied") is None
    assert json.loads(only(box).raw)["reason"] == "other"


def test_the_same_content_dropped_anew_is_another_file_with_the_same_hash(box):
    drop(box, "a.json")
    first = only(box)
    box.finish(first, "applied")
    drop(box, "a.json")
    second = only(box)
    assert first.key != second.key
    assert first.key.split(":")[0] == second.key.split(":")[0] == content_hash(second.raw)


def test_contents_applied_before_are_known_without_the_store(box):
    drop(box, "a.json")
    raw = only(box).raw
    assert box.applied_hashes() == frozenset()
    box.finish(only(box), "applied")
    assert box.applied_hashes() == {content_hash(raw)}


def test_the_signature_goes_with_its_file(box):
    (box.folder / "a.json.sig").write_bytes(b"sig")
    drop(box, "a.json")
    letter = only(box)
    assert letter.signature == b"sig"
    box.finish(letter, "refused", "bad_signature", "x")
    assert names(box.folder) == ["refused"]
    assert names(box.folder / "refused") == ["a.json", "a.json.reason.json", "a.json.sig"]


def test_a_file_still_being_written_is_left_and_then_refused(box):
    drop(box, "a.json", b'{"command": "force_di')
    now, bad = time.time_ns(), Refused(code="bad_json", text="x", again=True)
    assert to_be_left(only(box), bad, now)
    assert not to_be_left(only(box), bad, now + 3_000_000_000)
    unsigned = Refused(code="unsigned", text="x")
    assert to_be_left(only(box), unsigned, now + 3_000_000_000)
    assert not to_be_left(only(box), unsigned, now + 6_000_000_000)
    assert not to_be_left(only(box), Refused(code="expired", text="x"), now)


def test_a_file_that_cannot_be_moved_is_judged_once(box, monkeypatch):
    drop(box, "a.json")

    def read_only(*args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", read_only)
    assert box.finish(only(box), "applied") is None
    assert box.read().letters == ()


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "a\nb.json", "ü€.json"])
def test_every_name_can_be_refused(box, name):
    drop(box, name)
    box.finish(only(box), "refused", "bad_json", "x")
    assert names(box.folder) == ["refused"]
    assert len(names(box.folder / "refused")) == 2


# --- written by the command line ---------------------------------------------------------------------------------------------------


def test_a_written_command_is_a_correct_one(box):
    now = time.time_ns()
    fields = {
        "command": "force_enable",
        "strategy": "s",
        "operator": "ops",
        "reason": "drill",
        "expires_at": rfc3339(now + 10**12),
        "size_multiplier": None,
    }
    path = write_command(box.folder, fields, now_ns=now)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    post = box.read()
    moment = Moment(now_ns=now, boottime_ns=0)
    found = judge(post.letters[0].raw, post.letters[0].facts, post.folder, Terms(daemon_uid=os.getuid()), moment, Standing(known=("s",)))
    assert isinstance(found, Accepted)
    assert found.command.id
    assert write_command(box.folder, fields, now_ns=now + 1) != path


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_signed_command_passes_from_writer_to_judge(box, tmp_path):
    key, signers, now = tmp_path / "key", tmp_path / "signers", time.time_ns()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    signers.write_text("ops@desk " + key.with_suffix(".pub").read_text())
    signers.chmod(0o644)
    write_command(box.folder, {"command": "reset", "strategy": "*", "operator": "ops", "reason": "checked"}, now_ns=now, sign_key=key)
    post = box.read()
    (letter,) = post.letters
    proof = verify(letter.raw, letter.signature, signers)
    terms, moment = Terms(daemon_uid=os.getuid(), signers=True), Moment(now_ns=now, boottime_ns=0)
    assert judge(letter.raw, letter.facts, post.folder, terms, moment, Standing(), proof).command.signer == "ops@desk"
    assert (
        judge(
            letter.raw + b" ", letter.facts, post.folder, terms, moment, Standing(), verify(letter.raw + b" ", letter.signature, signers)
        ).code
        == "bad_signature"
    )


def test_what_is_held_is_not_read_again_and_leaves_room_for_the_others(box, monkeypatch):
    monkeypatch.setattr(command_files, "MOST", 3)
    for k in range(5):
        drop(box, f"{k}.json", STOP | {"reason": str(k)})
    first = box.read()
    assert [letter.name for letter in first.letters] == ["0.json", "1.json", "2.json"]
    held = {letter.key for letter in first.letters}
    assert [letter.name for letter in box.read(held).letters] == ["3.json", "4.json"]
    drop(box, "0.json", STOP | {"reason": "another of this name"})
    assert [letter.name for letter in box.read(held).letters] == ["3.json", "4.json", "0.json"]


def test_one_look_reads_so_much_and_no_more(box, monkeypatch):
    monkeypatch.setattr(command_files, "LOOK_BYTES", 2500)
    for k in range(4):
        drop(box, f"{k}.json", STOP | {"reason": str(k) * 1000})
    first = box.read().letters
    assert len(first) == 3
    assert [letter.name for letter in box.read({letter.key for letter in first}).letters] == ["3.json"]
