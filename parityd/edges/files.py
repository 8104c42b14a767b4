"""Durable file work: what was said to be written is there after a power cut, and nothing is ever half there.

1. `replace_durably`: a temporary file beside the target, fsync, rename, fsync of the folder: one synchronous unit.
2. After an error nothing is tried again on that descriptor: the temporary file goes, the error is raised, the caller recovers from the store.
3. `move_durably` never overwrites and never follows a link; done twice it is done once.
4. A folder's identity is (device, inode, generation): a folder deleted and made again may well get the old inode number.
5. Modes are explicit: the process's umask decides nothing.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

FolderId = tuple[int, int, int]  # device, inode, generation (0 where the file system has none)

FOLDER_MODE = 0o750
NAME_BYTES = 255
_CHUNK = 1 << 20
LEAST_ROOM = 64 << 10  # bytes without which a disk counts as full
_GET_VERSION = 0x80087601  # FS_IOC_GETVERSION, linux/fs.h
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_readable(path: Path | str, dir_fd: int | None = None) -> int:
    """A descriptor for reading that follows no link in the last component and waits for no writer; IsADirectoryError for a folder."""
    fd = os.open(path, _READ, dir_fd=dir_fd)
    if stat.S_ISDIR(os.fstat(fd).st_mode):  # of which no file object can be made, and nobody would close the descriptor
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return fd


def write_all(fd: int, data: bytes) -> None:
    """All of `data`, however short the single writes are."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder at all
            raise
    finally:
        os.close(fd)


def ensure_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """The folder and those above it; what is made anew gets `mode` and is durable, what is there stays as it is."""
    if folder.is_dir():
        return
    ensure_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode)
        os.chmod(folder, mode)
        sync_folder(folder.parent)


def folder_id(fd: int) -> FolderId:
    """Which folder an open descriptor stands for."""
    facts = os.fstat(fd)
    try:
        answer = fcntl.ioctl(fd, _GET_VERSION, b"\0" * 8)
    except OSError:
        return facts.st_dev, facts.st_ino, 0
    return facts.st_dev, facts.st_ino, struct.unpack("=I", answer[:4])[0]


def replace_durably(path: Path, data: bytes, mode: int) -> None:
    """Old content or new content, never anything between; OSError where it could not be made durable."""
    stream_durably(path, (data,), mode)


def stream_durably(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """`replace_durably` for what is too large to hold."""
    temporary = path.with_name(cut_name("." + path.name, NAME_BYTES - 4) + ".tmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # left by a process that died here
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for chunk in chunks:
                write_all(fd, chunk)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def exists(path: Path) -> bool:
    """Whether the name is taken, by whatever: a broken link counts."""
    return os.path.lexists(path)


def move_durably(src: Path, dst: Path, later: set[Path] | None = None) -> None:
    """Move an entry; FileExistsError where other content has the name. Already moved, or there with the same content, is done.

    `later`: the caller made the files durable, and will the folders that are put in here.
    """
    if exists(dst):
        if exists(src):
            if not same_content(src, dst):
                raise FileExistsError(errno.EEXIST, "another file has this name", str(dst))
            _sync_file(dst)
            os.unlink(src)
    else:
        if later is None:
            _sync_file(src)
        try:
            os.rename(src, dst)
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
            _carry(src, dst)
    if later is not None:
        later.update((dst.parent, src.parent))
        return
    sync_folder(dst.parent)
    if src.parent != dst.parent:
        sync_folder(src.parent)


def sync_all(folder: Path) -> bool:
    """Make everything on the file system of `folder` durable, in one go; False where the system has no such call."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return False
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(fd)
    return True


def _sync_file(path: Path) -> None:
    """Whoever wrote it may not have: a name must not outlive its bytes."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    try:
        fd = open_readable(path)
    except PermissionError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _carry(src: Path, dst: Path) -> None:
    """Across file systems: copy, make durable, then remove. Only what can be copied: files and links."""
    mode = os.lstat(src).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(src), dst)
    elif stat.S_ISREG(mode):
        with os.fdopen(open_readable(src), "rb", buffering=0) as source:
            stream_durably(dst, iter(lambda: source.read(_CHUNK), b""), stat.S_IMODE(mode) & 0o664)
    else:
        raise OSError(errno.EXDEV, "cannot be moved to another file system", str(src))
    os.unlink(src)


def same_content(a: Path, b: Path) -> bool:
    """Two regular files of the same bytes, or two links to the same target."""
    one, two = os.lstat(a), os.lstat(b)
    if stat.S_ISLNK(one.st_mode) and stat.S_ISLNK(two.st_mode):
        return os.readlink(a) == os.readlink(b)
    if not (stat.S_ISREG(one.st_mode) and stat.S_ISREG(two.st_mode)) or one.st_size != two.st_size:
        return False
    with os.fdopen(open_readable(a), "rb") as left, os.fdopen(open_readable(b), "rb") as right:
        while chunk := left.read(_CHUNK):
            if chunk != right.read(len(chunk)):
                return False
        return not right.read(1)


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path`."""
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def unwritable(folder: Path) -> str:
    """Why nothing can be written on the file system of `folder`, found without writing; "" where that is not known to be so."""
    facts = os.statvfs(folder)
    if facts.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    free = facts.f_bfree if os.geteuid() == 0 else facts.f_bavail
    return "its disk is full" if free * facts.f_frsize < LEAST_ROOM else ""


def safe_name(name: str) -> str:
    """A file's name for logs, JSON and our own folders: printable, valid UTF-8, whatever the bytes were."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut_name(name: str, room: int) -> str:
    """The name in at most `room` bytes, cut before its suffixes, which say what it holds."""
    raw = os.fsencode(name)
    if len(raw) <= room:
        return name
    stem, dot, suffixes = raw[-20:].partition(b".")
    tail = dot + suffixes if stem and dot else b""
    head = raw[: room - len(tail)]
    while head and (raw[len(head)] & 0xC0) == 0x80:  # not through the middle of a character
        head = head[:-1]
    return os.fsdecode(head + tail)
