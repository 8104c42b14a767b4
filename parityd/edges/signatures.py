"""Who signed a command: `ssh-keygen -Y sign` and `-Y verify` in the namespace `parityd-override`.

1. A signature is over the command's bytes; a name counts only if the file of allowed signers gives it that key (and namespace and validity).
2. Every way to fail is a value with a reason: unsigned, another signer, another text, no ssh-keygen, too slow, a list that others may write.
3. No shell, a fixed environment, a deadline. The signature is handed over in memory: a full disk does not stop a signed reset.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import msgspec

NAMESPACE = "parityd-override"
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_SIGNATURE_BYTES = 64 << 10


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """`signer` is a principal of the file of allowed signers."""

    signer: str


class Unsigned(msgspec.Struct, frozen=True, kw_only=True):
    """`code`: `unsigned` (there is none) or `bad_signature`."""

    code: str
    reason: str


def _bad(reason: str) -> Unsigned:
    return Unsigned(code="bad_signature", reason=reason)


def _run(
    arguments: list[str], data: bytes, timeout: float, descriptors: tuple[int, ...] = (), *, ask: bool = False
) -> tuple[int, str, str]:
    program = shutil.which("ssh-keygen", path=_ENVIRONMENT["PATH"])
    if program is None:
        return 127, "", "ssh-keygen is not installed"
    environment = dict(os.environ) if ask else _ENVIRONMENT
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, arguments as a list, no shell
            [program, *arguments], input=data, capture_output=True, timeout=timeout, env=environment, pass_fds=descriptors, check=False
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"ssh-keygen did not answer within {timeout:g} s"
    except OSError as e:
        return 126, "", f"ssh-keygen cannot be started: {e.strerror or e}"
    return done.returncode, done.stdout.decode("utf-8", "replace"), "; ".join(done.stderr.decode("utf-8", "replace").splitlines()).strip()


def verify(data: bytes, signature: bytes | None, allowed_signers: Path, timeout: float = 10.0) -> Signed | Unsigned:
    """Who signed `data`, by the file of allowed signers."""
    if not signature:
        return Unsigned(code="unsigned", reason="there is no signature beside it")
    if len(signature) > _SIGNATURE_BYTES:
        return _bad("the signature is no signature: too long")
    try:
        facts = os.stat(allowed_signers)
    except OSError as e:
        return _bad(f"the list of allowed signers cannot be read: {e.strerror}")
    if facts.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        return _bad(f"the list of allowed signers may be written by others (mode {stat.S_IMODE(facts.st_mode):04o})")
    try:
        fd = os.memfd_create("signature", os.MFD_CLOEXEC)
    except OSError as e:
        return _bad(f"the signature cannot be looked at: {e.strerror or e}")
    try:
        os.write(fd, signature)
        return _verify(data, f"/proc/self/fd/{fd}", fd, str(allowed_signers), timeout)
    finally:
        os.close(fd)


def _verify(data: bytes, signature: str, fd: int, allowed: str, timeout: float) -> Signed | Unsigned:
    code, out, error = _run(["-Y", "find-principals", "-s", signature, "-f", allowed], b"", timeout, (fd,))
    names = [name for line in out.splitlines() for name in line.split(",") if name and not name.startswith("!")]
    if code != 0 or not names:
        return _bad(f"not signed by an allowed signer ({error or 'no principal'})")
    for name in names:
        code, _, error = _run(["-Y", "verify", "-n", NAMESPACE, "-s", signature, "-f", allowed, "-I", name], data, timeout, (fd,))
        if code == 0:
            return Signed(signer=name)
    return _bad(f"the signature does not fit ({error})")


def sign(data: bytes, key: Path, timeout: float = 120.0) -> bytes:
    """The signature of `data`, as in FILE.sig; ValueError with ssh-keygen's words where it cannot be made. May ask for a passphrase."""
    if not key.exists():
        raise ValueError(f"{key}: no such key")
    code, out, error = _run(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)], data, timeout, ask=True)
    if code != 0 or "BEGIN SSH SIGNATURE" not in out:
        raise ValueError(f"{key}: cannot sign ({error})")
    return out.encode()
