"""Signatures made and checked by the real ssh-keygen."""

import shutil
import subprocess

import pytest

from parityd.edges.signatures import Signed, Unsigned, sign, verify

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ops", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True, timeout=30)
    return folder


@pytest.fixture
def allowed(keys, tmp_path):
    def write(line="ops@desk {key}"):
        path = tmp_path / "allowed_signers"
        path.write_text(line.format(key=(keys / "ops.pub").read_text()))
        path.chmod(0o644)
        return path

    return write


def test_an_allowed_signer_is_named(keys, allowed):
    assert verify(b"text", sign(b"text", keys / "ops"), allowed()) == Signed(signer="ops@desk")
    assert verify(b"text", sign(b"text", keys / "ops"), allowed("first,second {key}")) == Signed(signer="first")


def test_another_text_another_signer_or_no_signature_is_not_signed(keys, allowed):
    good = sign(b"text", keys / "ops")
    for data, signature in (
        (b"Text", good),
        (b"text", sign(b"text", keys / "other")),
        (b"text", b"junk"),
        (b"text", good[:80]),
        (b"text", b"x" * 100_000),
    ):
        assert verify(data, signature, allowed()).code == "bad_signature"
    for nothing in (None, b""):
        assert verify(b"text", nothing, allowed()).code == "unsigned"


@pytest.mark.parametrize("line", ['ops namespaces="file" {key}', 'ops valid-before="20200101" {key}', "# {key}"])
def test_a_key_not_allowed_for_this_or_not_any_more_does_not_count(keys, allowed, line):
    assert isinstance(verify(b"text", sign(b"text", keys / "ops"), allowed(line)), Unsigned)


def test_a_signature_for_another_purpose_does_not_count(keys, allowed, tmp_path):
    (tmp_path / "f").write_bytes(b"text")
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(keys / "ops"), str(tmp_path / "f")],
        check=True,
        timeout=30,
        capture_output=True,
    )
    assert verify(b"text", (tmp_path / "f.sig").read_bytes(), allowed()).code == "bad_signature"


def test_a_file_signed_by_hand_as_documented_counts(keys, allowed, tmp_path):
    (tmp_path / "f").write_bytes(b"text")
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "parityd-override", "-f", str(keys / "ops"), str(tmp_path / "f")]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    assert verify(b"text", (tmp_path / "f.sig").read_bytes(), allowed()) == Signed(signer="ops@desk")


def test_a_list_that_others_may_write_or_that_is_not_there_allows_nobody(keys, allowed, tmp_path):
    good, path = sign(b"text", keys / "ops"), allowed()
    path.chmod(0o666)
    assert "written by others" in verify(b"text", good, path).reason
    assert "cannot be read" in verify(b"text", good, tmp_path / "none").reason


def test_what_cannot_be_signed_says_why(keys, tmp_path):
    with pytest.raises(ValueError, match="no such key"):
        sign(b"x", tmp_path / "none")
    (tmp_path / "nokey").write_text("not a key")
    (tmp_path / "nokey").chmod(0o600)
    with pytest.raises(ValueError, match="cannot sign"):
        sign(b"x", tmp_path / "nokey")
