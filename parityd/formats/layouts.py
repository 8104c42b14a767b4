"""Which fields the decisions and fills of a file have, so that the others are proven absent and cost nothing.

1. A layout is a pair of record types with only the fields that some record was seen to have. They refuse any other field: a block that they decode has
   none, and says the same as with the whole types. Fields that are no part of a record are read over.
2. A block that has other fields is decoded anew with these as well. A file that keeps bringing new ones, or has very many, is read with the whole types.
3. Where strategies and symbols are few, the types name them: text that is known is not made anew for each record. A block with a strange name is decoded
   without them, and the next one knows it.
4. Types are kept: files of one writer look alike.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

from parityd.core import owners
from parityd.core.drafts import DECISIONS, FILLS, Draft
from parityd.core.records import Decision, Fill, Native, Rare

WORTH = 32 << 10  # bytes: less is decoded with the whole types, as fast
SAMPLE = 24 << 10  # bytes that are looked at first: what they lack is learned when it comes
MANY = 64  # fields
CHANGES = 8  # of the layout within one file
FEW = 256  # strategies, or symbols
_STRANGE = "Invalid enum value"
_OTHER = "Object contains unknown field"
_KIND = "kind"
_NESTED = (msgspec.Raw, list[str] | None)
_WHOLE = msgspec.json.Decoder(Native, strict=False)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TAGS: dict[bytes, type[msgspec.Struct]] = {b'"decision"': Decision, b'"fill"': Fill}
Names = tuple[tuple[str, ...], tuple[str, ...]]
Fields = dict[type[msgspec.Struct], tuple[str, ...]]


class Layout:
    """How blocks are decoded, and what their records have. `shallow` are the types of which no field holds another object or list."""

    def __init__(
        self, decoder: msgspec.json.Decoder[Any], decision: type[msgspec.Struct], fill: type[msgspec.Struct], *, named: bool
    ) -> None:
        self.decode = decoder.decode_lines
        self.decision, self.fill, self.named = decision, fill, named
        own = (k for k in (decision, fill) if k not in (Decision, Fill))
        self.shallow = {k for k in own if not any(f.type in _NESTED for f in msgspec.structs.fields(k))}

    def drafts(self) -> tuple[Draft, Draft]:
        """For decisions and fills of this layout."""
        return Draft(DECISIONS, self.decision.__struct_fields__), Draft(FILLS, self.fill.__struct_fields__)


WHOLE = Layout(_WHOLE, Decision, Fill, named=False)


def _lean(whole: type[msgspec.Struct], names: Sequence[str], known_names: Names | None) -> type[msgspec.Struct]:
    known = {f.encode_name: f for f in msgspec.structs.fields(whole)}
    limited: dict[str, Any] = {} if known_names is None else {"strategy": Literal[known_names[0]], "symbol": Literal[known_names[1]]}
    fields: list[Any] = []
    for i, name in enumerate(names):
        f = known.get(name)
        if f is None:
            fields.append((f"_{i}", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw())))
        else:
            kind = limited.get(name, f.type)
            fields.append((name, kind) if f.required else (name, kind, f.default))
    fields += [(f.name, f.type) for f in known.values() if f.required and f.name not in names]
    tag = whole.__struct_config__.tag
    return msgspec.defstruct(
        f"Lean{whole.__name__}", fields, tag_field=_KIND, tag=tag, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True
    )


@lru_cache(maxsize=32)
def _layout(decision: tuple[str, ...], fill: tuple[str, ...], known_names: Names | None) -> Layout:
    try:
        d, f = (_lean(whole, names, known_names) if names else whole for whole, names in ((Decision, decision), (Fill, fill)))
    except (TypeError, ValueError):  # a field of a name that no type can have
        return WHOLE
    return Layout(msgspec.json.Decoder(d | f | Rare, strict=False), d, f, named=known_names is not None)


def _fields(data: bytes) -> Fields:
    """The fields of the decisions and fills of a block, in the order in which they were first seen."""
    seen: dict[type[msgspec.Struct], dict[str, None]] = {Decision: {}, Fill: {}}
    for record in _FIELDS.decode_lines(data):
        whole = _TAGS.get(bytes(record.get(_KIND, b"")))
        if whole is not None:
            seen[whole].update(dict.fromkeys(record))
    return {whole: tuple(k for k in names if k != _KIND) for whole, names in seen.items()}


class Layouts:
    """The layout of one file, as it is learned block by block."""

    def __init__(self) -> None:
        self.now = WHOLE
        self.fields: Fields = {Decision: (), Fill: ()}
        self.left = CHANGES
        self.strange = 0  # blocks with a strange name

    def decode(self, data: bytes) -> list[Any] | None:
        """The records of a block, decoded by `now`; None where some line is not right."""
        if self.now is WHOLE and self.left > 0 and len(data) >= WORTH:
            self._learn(data[: data.rfind(b"\n", 0, SAMPLE) + 1] or data)
        elif self.now is not WHOLE and not self.now.named and self.strange < CHANGES:
            self._use(owners.few(FEW))
        for _ in range(3):
            try:
                return self.now.decode(data)
            except (msgspec.MsgspecError, RecursionError, UnicodeError) as e:
                if not self._changed(data, str(e)):
                    return None
        return None

    def _changed(self, data: bytes, why: str) -> bool:
        """After a block could not be decoded: whether another layout might."""
        if self.now is not WHOLE and why.startswith(_OTHER):
            self._learn(data)
        elif self.now.named and why.startswith(_STRANGE):
            self.strange += 1
            self._use(None)
        else:
            return False
        return True

    def _use(self, names: Names | None) -> None:
        self.now = _layout(self.fields[Decision], self.fields[Fill], names)

    def _learn(self, data: bytes) -> None:
        """A layout that has this block's fields too, or the whole one."""
        self.left -= 1
        self.now = WHOLE
        try:
            found = _fields(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return  # some line is not right
        self.fields = {whole: tuple(dict.fromkeys([*names, *found[whole]])) for whole, names in self.fields.items()}
        if any(len(names) > MANY for names in self.fields.values()):
            self.left = 0
        elif self.left > 0 and any(self.fields.values()):
            self._use(owners.few(FEW) if self.strange < CHANGES else None)
