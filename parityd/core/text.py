"""A column of text as its bytes: from a decoded line to the store without a Python string for each record.

1. It is a sequence of str and equals any sequence of the same texts; a string is made where one is asked for.
2. Bytes are UTF-8 (also halves of a character, as they came). Behind the last text there is room, so that 8 bytes can be read wherever a text lies.
3. Rows that were picked share the bytes of the column that they were picked from.
4. One text for all rows is kept once (`same`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

ROOM = 72  # bytes
_SHARED = 1 << 16  # places x lengths: so many are looked through even for a few rows
_END = "\0" * ROOM
_NEWLINE = 10
_STRICT = "surrogatepass"


def raw(text: str) -> bytes:
    return text.encode("utf-8", _STRICT)


class TextColumn(Sequence[str]):
    """N texts. `pitch`: they lie one behind the other, all of one length, with a byte between any two; 0 where they do not."""

    __slots__ = ("_begin", "_length", "n", "octets", "pitch", "same")

    def __init__(self, n: int, octets: Bytes, *, pitch: int = 0, places: tuple[I64, I64] | None = None, same: str | None = None) -> None:
        self.n, self.octets, self.pitch, self.same = n, octets, pitch, same
        self._begin: I64 | None = None
        self._length: I64 | None = None
        if places is not None:
            self._begin, self._length = places

    @classmethod
    def repeated(cls, text: str, n: int) -> Self:
        """One text for all."""
        return cls(n, _padded(raw(text)), same=text)

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TextColumn":
        """Any texts. TypeError where one is none."""
        if isinstance(texts, TextColumn):
            return texts
        values = texts if isinstance(texts, list) else list(texts)
        n = len(values)
        if n and type(values[0]) is not str:
            raise TypeError(f"{values[0]!r} is no text")
        if not n or (values[0] == values[-1] and values.count(values[0]) == n):
            return cls.repeated(values[0] if n else "", n)
        found = cls.of_lines(values, n)
        if found is not None:
            return found
        parts = [*map(raw, values)]
        return cls.of_bytes(b"".join(parts), np.fromiter(map(len, parts), np.int64, n))

    @classmethod
    def of_lines(cls, lines: Sequence[str], n: int) -> Self | None:
        """N texts of lines that hold them with a newline between any two; None where a text holds a newline itself."""
        data = raw("\n".join([*lines, _END]))
        octets = np.frombuffer(data, np.uint8)
        is_end = octets[: len(data) - ROOM] == _NEWLINE
        pitch = data.index(b"\n") + 1
        if pitch * n == len(is_end) and is_end[pitch - 1 :: pitch].all() and np.count_nonzero(is_end) == n:
            return cls(n, octets, pitch=pitch)
        ends = np.flatnonzero(is_end)
        if len(ends) != n:
            return None
        begin = np.zeros(n, np.int64)
        begin[1:] = ends[:-1] + 1
        return cls(n, octets, places=(begin, ends - begin))

    @classmethod
    def of_bytes(cls, data: bytes, length: I64) -> Self:
        """Texts that lie one behind the other, with the length of each in bytes."""
        return cls(len(length), _padded(data), places=(np.cumsum(length) - length, length))

    @classmethod
    def chosen(cls, texts: list[str], codes: I64) -> Self:
        """Of these texts the one at each row's place among them; they share its bytes. Shape of `codes`: (n,)."""
        if len(texts) == 1:
            return cls.repeated(texts[0], len(codes))
        parts = [*map(raw, texts)]
        length = np.fromiter(map(len, parts), np.int64, len(parts))
        begin = np.cumsum(length) - length
        return cls(len(codes), _padded(b"".join(parts)), places=(begin[codes], length[codes]))

    @classmethod
    def joined(cls, parts: "Sequence[TextColumn]") -> "TextColumn":
        """Several as one."""
        if len(parts) == 1:
            return parts[0]
        first, n = parts[0], sum(p.n for p in parts)
        if first.same is not None and all(p.same == first.same for p in parts):
            return cls.repeated(first.same, n)
        if first.pitch and all(p.pitch == first.pitch for p in parts):
            used = [p.octets[: p.n * p.pitch] for p in parts]
            return cls(n, np.concatenate([*used, np.zeros(ROOM, np.uint8)]), pitch=first.pitch)
        apart = list({id(p.octets): p.octets for p in parts}.values())
        at = dict(zip(map(id, apart), np.cumsum([0, *map(len, apart)]).tolist(), strict=False))
        octets = apart[0] if len(apart) == 1 else np.concatenate(apart)
        begin = np.concatenate([p.begin + at[id(p.octets)] for p in parts])
        return cls(n, octets, places=(begin, np.concatenate([p.length for p in parts])))

    # --- where they lie -------------------------------------------------------------------------------------------

    @property
    def begin(self) -> I64:
        """Where each text begins. Shape (n,)."""
        if self._begin is None:
            self._begin = np.arange(0, self.n * self.pitch, self.pitch) if self.pitch else np.zeros(self.n, np.int64)
        return self._begin

    @property
    def length(self) -> I64:
        """Of each text, in bytes. Shape (n,)."""
        if self._length is None:
            self._length = np.full(self.n, self._one_length())
        return self._length

    def _one_length(self) -> int:
        return self.pitch - 1 if self.pitch else len(self.octets) - ROOM

    def lengths(self) -> tuple[int, int]:
        """(the shortest, the longest), in bytes; of at least one text."""
        if self._length is None:
            return (self._one_length(),) * 2
        return int(self._length.min()), int(self._length.max())

    def word(self, at: int) -> U64:
        """Of each text the 8 bytes from a place on, and what follows it."""
        if self.pitch:
            return np.ndarray((self.n,), np.uint64, self.octets, at, (self.pitch,))
        windows: U64 = np.ndarray((len(self.octets) - 7,), np.uint64, self.octets, 0, (1,))
        return windows[self.begin + at]

    def packed(self) -> tuple[bytes, I64]:
        """(all texts in one, the length of each in bytes)."""
        if self.same is not None:
            return raw(self.same) * self.n, self.length
        if self.pitch:
            return self.octets[: self.n * self.pitch].reshape(self.n, self.pitch)[:, :-1].tobytes(), self.length
        length, begin = self.length, self.begin
        low, high = self.lengths() if self.n else (0, 0)
        if low == high:
            return np.ndarray((len(self.octets) - low, low), np.uint8, self.octets, 0, (1, 1))[begin].tobytes(), length
        starts = np.cumsum(length) - length
        return self.octets[np.arange(int(length.sum())) + np.repeat(begin - starts, length)].tobytes(), length

    # --- asked ----------------------------------------------------------------------------------------------------

    def some(self) -> bool:
        """Whether any is not empty."""
        return self.n > 0 and self.lengths()[1] > 0

    def full(self) -> bool:
        """Whether none is empty."""
        return self.n == 0 or self.lengths()[0] > 0

    def given(self) -> Bools:
        """Where a text is not empty."""
        return np.ones(self.n, np.bool_) if self.full() else self.length > 0

    def codes(self, of: Callable[[str], int]) -> I64:
        """What a function of the text says of each, asked once a text. Shape (n,)."""
        texts, places = self.few()
        known: dict[str, int] = {}
        for text in texts:
            if text not in known:
                known[text] = of(text)
        return np.array([known[text] for text in texts], np.int64)[places]

    def few(self) -> tuple[list[str], I64]:
        """(texts, each row's place among them): where rows share bytes (`chosen`) each text once and without looking at a row; a text may stand there twice."""
        if self.same is not None:
            return [self.same] if self.n else [], np.zeros(self.n, np.int64)
        span = self.lengths()[1] + 1 if self.n else 1
        if self.pitch or len(self.octets) * span > max(_SHARED, self.n):
            values = self.tolist()
            table = {text: k for k, text in enumerate(dict.fromkeys(values))}
            return list(table), np.fromiter(map(table.__getitem__, values), np.int64, self.n)
        lies = self.begin * span + self.length
        place = np.full(len(self.octets) * span, -1)
        place[lies[::-1]] = np.arange(self.n - 1, -1, -1)  # of each text the first row that has it
        first = np.sort(place[place >= 0])
        place[lies[first]] = np.arange(len(first))
        return [self[k] for k in first.tolist()], place[lies]

    # --- as texts -------------------------------------------------------------------------------------------------

    def take(self, where: "I64 | Bools | slice") -> "TextColumn":
        """The rows of positions, of a mask or of a slice."""
        if self.same is not None:
            size = (
                len(range(*where.indices(self.n)))
                if isinstance(where, slice)
                else int(np.count_nonzero(where))
                if where.dtype == np.bool_
                else len(where)
            )
            return TextColumn(size, self.octets, same=self.same)
        return TextColumn(len(begin := self.begin[where]), self.octets, places=(begin, self.length[where]))

    def tolist(self) -> list[str]:
        if self.same is not None:
            return [self.same] * self.n
        data, length = self.packed()
        text = data.decode("utf-8", _STRICT)
        ends = np.cumsum(length)
        if len(text) != len(data):
            return [data[a:b].decode("utf-8", _STRICT) for a, b in zip((ends - length).tolist(), ends.tolist(), strict=True)]
        return [text[a:b] for a, b in zip((ends - length).tolist(), ends.tolist(), strict=True)]

    def array(self) -> NDArray[np.object_]:
        """An array of str."""
        out = np.empty(self.n, object)
        out[:] = self.tolist()
        return out

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "TextColumn": ...
    def __getitem__(self, at: int | slice) -> "str | TextColumn":
        if isinstance(at, slice):
            return self.take(at)
        if not -self.n <= at < self.n:
            raise IndexError(at)
        begin = int(self.begin[at])
        return self.octets[begin : begin + int(self.length[at])].tobytes().decode("utf-8", _STRICT)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return self.tolist() == list(other) if isinstance(other, TextColumn | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TextColumn({self.tolist()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.same is not None or not self.n:
            return _repeated, (self.same or "", self.n)
        data, length = self.packed()
        low, high = self.lengths()
        return _arrived, (data, self.n, low if low == high else length)


def _padded(data: bytes) -> Bytes:
    return np.frombuffer(data + bytes(ROOM), np.uint8)


def _repeated(text: str, n: int) -> TextColumn:
    return TextColumn.repeated(text, n)


def _arrived(data: bytes, n: int, length: int | I64) -> TextColumn:
    return TextColumn.of_bytes(data, np.full(n, length) if isinstance(length, int) else length)
