"""What a tailed or polled source puts into the spool, and how far it has come: nothing is lost and nothing comes twice, wherever it is killed.

1. The order of steps: the bytes under a name that nobody reads, durable; then `data_dir/.sources/<name>.json` says what they are and how far they
   reach; then the rename. Whichever of them is the last, the next round finds out what is left to do.
2. A place counts once the store knows the file, taken or refused. A file that is neither in the spool nor known to the store was never
   delivered: the places behind it are forgotten, and its log is read from there again.
3. Where the store does not know the newest file that counts (it is an older one, or new), nothing counts: everything is read again, and identity
   absorbs it. The state is a shortcut; without it nothing is lost.
4. Names rise, so that files of one source are taken in the order in which they were delivered.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from parityd.edges.files import ensure_folder, exists, replace_durably, sync_folder, write_all
from parityd.formats.tail import Place
from parityd.service.reading import piece_name

FOLDER = ".sources"
MODE = 0o640
FORMER = 16


class Piece(msgspec.Struct, frozen=True):
    """A file that was delivered, and what it changes of the places."""

    name: str
    sha256: str
    places: dict[str, Place | None]
    former: list[Place]


class State(msgspec.Struct, frozen=True):
    """What is durable. `last`: the hash of the newest file that counts; `pieces`: those that may not."""

    book: str
    number: int = 0
    last: str = ""
    places: dict[str, Place] = {}
    former: list[Place] = []
    pieces: list[Piece] = []


class Deliveries:
    """One source's. `held(book, sha256)`: whether the store knows a file. `places` by path and `former` (of logs that are elsewhere by now, or
    gone) are as after all that was delivered; what is changed in them becomes durable with the next delivery.
    """

    def __init__(self, data_dir: Path, source: str, book: str, held: Callable[[str, str], bool], now: Callable[[], int]) -> None:
        self.source, self.book, self.held, self.now = source, book, held, now
        self.inbox = data_dir / "spool" / book
        self.folder = data_dir / FOLDER
        self.path = self.folder / f"{source}.json"
        self.waiting = 0  # files that nobody has taken yet
        self.state = self._load()
        self.places: dict[str, Place] = {}
        self.former: list[Place] = []
        self.changed: set[str] = set()
        self._look_back()
        self._sweep()

    def _load(self) -> State:
        try:
            state = msgspec.json.decode(self.path.read_bytes(), type=State)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return State(book=self.book)
        if state.book != self.book:
            return State(book=self.book, number=state.number)
        if state.last and not self.held(self.book, state.last):
            return State(book=self.book, number=state.number)
        return state

    def _sweep(self) -> None:
        """What a death left half written."""
        mine = {"." + p.name for p in self.state.pieces}
        for name in os.listdir(self.inbox):
            if name.startswith(f".{self.source}~") and name not in mine:
                with contextlib.suppress(OSError):
                    os.unlink(self.inbox / name)

    def _look_back(self) -> None:
        """Places as the durable state has them."""
        self.places, self.former = dict(self.state.places), list(self.state.former)
        for piece in self.state.pieces:
            self._apply(piece)
        self.changed.clear()

    def _apply(self, piece: Piece) -> None:
        self.places, self.former = _after(self.places, piece), list(piece.former)

    def put(self, log: str, place: Place) -> None:
        """How far a log has been read."""
        self.places[log] = place
        self.changed.add(log)

    def turn_away(self, log: str) -> None:
        """What was read under this name is elsewhere by now."""
        place = self.places.pop(log)
        self.changed.add(log)
        if place.offset and place not in self.former:
            self.former = [*self.former, place][-FORMER:]

    def settle(self) -> bool:
        """Finish what was begun, and see what has left the spool; False where something was lost on the way, and places went back."""
        pieces = self.state.pieces
        taken = 0
        self.waiting = 0
        for n, p in enumerate(pieces):
            if not self._there(p):
                if not self.held(self.book, p.sha256):
                    shorter = msgspec.structs.replace(self.state, pieces=pieces[:n])
                    self._save(shorter)
                    self.state = shorter
                    self._look_back()
                    return False
                if not self.waiting:
                    taken = n + 1
            else:
                self.waiting += 1
        places, last = self.state.places, self.state.last
        for p in pieces[:taken]:
            places, last = _after(places, p), p.sha256
        if taken:  # made durable with the next delivery: till then it is found out again
            former = pieces[taken - 1].former
            self.state = msgspec.structs.replace(self.state, last=last, places=places, former=former, pieces=pieces[taken:])
        return True

    def _there(self, p: Piece) -> bool:
        if exists(self.inbox / p.name):
            return True
        hidden = self.inbox / ("." + p.name)
        if not exists(hidden):
            return False
        os.rename(hidden, self.inbox / p.name)
        sync_folder(self.inbox)
        return True

    def deliver(self, chunks: Iterable[bytes], log: str, place: Place, suffix: str, known: str = "") -> int:
        """Put a file into the spool: `log` has been read up to `place`. Its size. Whatever is raised, nothing of it counts and places are as before."""
        try:
            size = self._deliver(chunks, log, place, suffix, known)
        except BaseException:
            self._look_back()
            raise
        self.changed.clear()
        self.waiting += 1
        return size

    def _deliver(self, chunks: Iterable[bytes], log: str, place: Place, suffix: str, known: str) -> int:
        staged = self.inbox / f".{self.source}~staged"
        sha256, size = _written(staged, chunks)
        number = max(self.now(), self.state.number + 1)
        name = piece_name(self.source, number, sha256, suffix, known)
        hidden = self.inbox / ("." + name)
        os.rename(staged, hidden)
        if log:
            self.put(log, place)
        piece = Piece(name, sha256, {log: self.places.get(log) for log in self.changed}, list(self.former))
        state = msgspec.structs.replace(self.state, number=number, pieces=[*self.state.pieces, piece])
        try:
            self._save(state)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            raise
        self.state = state
        os.rename(hidden, self.inbox / name)
        sync_folder(self.inbox)
        return size

    def _save(self, state: State) -> None:
        ensure_folder(self.folder)
        replace_durably(self.path, msgspec.json.encode(state), MODE)


def _after(places: dict[str, Place], piece: Piece) -> dict[str, Place]:
    new = dict(places)
    for log, place in piece.places.items():
        if place is None:
            new.pop(log, None)
        else:
            new[log] = place
    return new


def _written(path: Path, chunks: Iterable[bytes]) -> tuple[str, int]:
    """(hash, size) of a durable file of our own."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    found, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        try:
            for chunk in chunks:
                found.update(chunk)
                size += len(chunk)
                write_all(fd, chunk)
            os.fchmod(fd, MODE)
            os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return found.hexdigest(), size
