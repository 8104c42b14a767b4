"""FIX 4.2 and 4.4 logs and drop copies: execution reports -> fills, busts and the states of orders.

1. A message goes from `8=FIX` to its `10=`, whatever stands before it in its line; lines without one say nothing. The separator is what stands
   behind the version: SOH, `|`, `;` or `^A`.
2. A fill is ExecType F (4.4), or 1 and 2 (4.2 style), with LastQty > 0; its id is ExecID. A report told again (PossDup, further hops: the same
   ExecID, side and quantity, and the same symbol or OrderID) is the same fill: the first one in the file stands.
3. ExecType H, or ExecTransType 1, takes back the fill that ExecRefID names; G, or 2, takes it back and puts another in its place.
   Where the fill is known, it is taken back as it was told, whatever account or venue the bust leaves out.
4. An order is named by its first ClOrdID: a replacement (41) leads back to it; a report without one by OrderID.
5. Times are UTC as the protocol has it; where TransactTime is local, `[sources.<name>] timezone` says of where.
6. No strategy is named: `[sources.<name>] strategy`.

Tried with logs of QuickFIX 1.16 and of a router between several hops. Unknown tags and message types are passed over.
"""

import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import NAN, Bust, Fill, Native, Order, Refusal
from parityd.formats.fields import Unfit, as_number, in_zone
from parityd.formats.increments import charged
from parityd.formats.lines import Long, chunks
from parityd.formats.port import Context, Part, Sample, strategy_of
from parityd.formats.rows import finished

_START = re.compile(rb"8=FIXT?\.\d\.\d(\x01| ?\| ?|;|\^A)")
_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\d{8}-\d\d:\d\d:\d\d(\.\d+)? : ")
_ROOT, _FILL = "root\x1f", "fill\x1f"
_NO_SYMBOL = "[N/A]"
_TIME = re.compile(r"(\d{8})-(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?Z?\Z", re.ASCII)
_SIDES = {"1": "buy", "3": "buy", "2": "sell", "4": "sell", "5": "sell", "6": "sell"}
_TYPES = {"1": "market", "2": "limit", "3": "stop", "4": "stop_limit", "P": "pegged"}
_STATES = {"0": "accepted", "4": "cancelled", "8": "rejected", "C": "expired"}

Tags = dict[str, list[str]]


def knows(sample: Sample) -> bool:
    return sample.shape in ("text", "lines") and not sample.keys and _START.search(sample.head) is not None


def is_events(sample: Sample) -> bool:
    return sample.shape == "text" and _EVENTS.match(sample.head) is not None


def messages(line: bytes) -> Iterator[Tags]:
    """The fields of each message in a line, in order of their tags' appearance. `Unfit` where one is cut."""
    starts = list(_START.finditer(line))
    for k, start in enumerate(starts):
        end = starts[k + 1].start() if k + 1 < len(starts) else len(line)
        yield tags(line[start.start() : end], start[1])


def tags(message: bytes, separator: bytes) -> Tags:
    """The fields of one message. `Unfit` where it is cut."""
    text = message.decode("utf-8", "backslashreplace").rstrip("\r\n")
    found: Tags = {}
    for field_ in text.split(separator.decode()):
        tag, eq, value = field_.partition("=")
        if eq and tag.isdigit():
            found.setdefault(tag, []).append(value)
            if tag == "10":
                return found
    raise Unfit("bad_value", "the message ends before its checksum")


def _one(found: Tags, tag: str) -> str:
    values = found.get(tag)
    return values[0] if values else ""


def _need(found: Tags, tag: str, name: str) -> str:
    value = _one(found, tag)
    if not value:
        raise Unfit("missing_field", f"{name} ({tag}) is missing")
    return value


def moment(name: str, said: str, zone: str) -> int:
    """A UTCTimestamp in ns; of the wall clock of `zone` where that is not UTC."""
    found = _TIME.match(said)
    try:
        t = datetime.strptime("".join(found.groups()[:4]), "%Y%m%d%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        t = None
    if found is None or t is None:
        raise Unfit("bad_value", f"{name} is {said[:40]!r}: must be a time")
    ns = int(t.timestamp()) * 10**9 + int((found[5] or "").ljust(9, "0"))
    return ns if zone == "UTC" else in_zone(ns, zone)


@dataclass(slots=True)
class _Log:
    """What has to be known of earlier messages: which order a replaced id belongs to, which fills were told. `notes` outlives the file."""

    strategy: str
    zone: str
    notes: MutableMapping[str, str] = field(default_factory=dict)
    told: set[tuple[str, ...]] = field(default_factory=set)

    def take(self, found: Tags) -> list[Native]:
        """What one message says."""
        kind = _one(found, "35")
        mine = _one(found, "11")
        if (kind == "D" or _one(found, "150") == "0") and not _one(found, "41") and self.notes.get(_ROOT + mine, mine) != mine:
            self.notes[_ROOT + mine] = mine  # ids begin anew each day
        if kind == "8":
            return list(self._report(found))
        return [self._order(found, "submitted", self._when(found))] if kind == "D" else []

    def _when(self, found: Tags) -> int:
        said = _one(found, "60")
        if said:
            return moment("TransactTime (60)", said, self.zone)
        return moment("SendingTime (52)", _one(found, "122") or _need(found, "52", "SendingTime"), "UTC")  # 122: as it was first sent

    def _name(self, found: Tags) -> str:
        mine, before = _one(found, "11"), _one(found, "41")
        if mine and before and mine != before:
            root = self.notes.get(_ROOT + before, before)
            if self.notes.get(_ROOT + mine) != root:
                self.notes[_ROOT + mine] = root
        return self.notes.get(_ROOT + mine, mine) or _need(found, "37", "OrderID")

    def _order(self, found: Tags, status: str, when: int) -> Order:
        told: dict[str, Any] = {}
        if status == "submitted":
            limit = _one(found, "44")
            told = {"side": _SIDES.get(_one(found, "54"), ""), "quantity": _number(found, "38", "OrderQty") if _one(found, "38") else NAN,
                    "limit_price": _number(found, "44", "Price") if limit else NAN}  # fmt: skip
        return Order(
            ts=rfc3339(when), strategy=self.strategy, symbol=_symbol(found), order_id=self._name(found), status=status,  # type: ignore[arg-type]
            reason=_one(found, "58"), **told,
        )  # fmt: skip

    def _report(self, found: Tags) -> Iterator[Native]:
        transaction, state = _one(found, "20"), _one(found, "39")
        what = _one(found, "150") or (state if state in ("1", "2", "4", "8", "C") else "")
        if _one(found, "41"):
            self._name(found)
        if transaction == "3" or what == "I":
            return  # tells the status again
        when = self._when(found)
        quantity = _number(found, "32", "LastQty") if _one(found, "32") else 0.0
        if what in ("H", "G") or transaction in ("1", "2"):
            yield from self._taken_back(found, when)
        traded = what in ("F", "G") or (what in ("1", "2") and transaction in ("", "0", "2")) or (transaction == "2" and what != "H")
        if traded and transaction != "1" and quantity > 0:
            yield from self._traded(found, when, quantity)
        if what in _STATES and transaction in ("", "0"):
            yield self._order(found, _STATES[what], when)
        elif state == "2" and quantity > 0:
            yield self._order(found, "filled", when)

    def _taken_back(self, found: Tags, when: int) -> Iterator[Bust]:
        name, reason = _need(found, "19", "ExecRefID"), _one(found, "58")
        own = Bust(
            ts=rfc3339(when),
            strategy=self.strategy,
            symbol=_symbol(found),
            fill_id=name,
            reason=reason,
            account=_one(found, "1"),
            venue=_venue(found),
        )
        told = self.notes.get(_FILL + name)
        if told is None:
            yield own
            return
        symbol, account, venue, *names = told.split("\x1f")
        for one in names:
            yield msgspec.structs.replace(own, symbol=symbol, fill_id=one, account=account, venue=venue)

    def _traded(self, found: Tags, when: int, quantity: float) -> Iterator[Fill]:
        made = self._fill(found, when, quantity)
        same = (str(made.fill_id), str(made.side), repr(quantity))
        names = [(*same, "symbol", made.symbol), *([(*same, "order", order)] if (order := _one(found, "37")) else [])]
        if any(name in self.told for name in names):
            return
        charges = list(charged(made, _fees(found, quantity)))
        self.told.update(names)
        if made.account or made.venue or len(charges) > 1:  # else a bust names it all by itself
            self.notes[_FILL + _one(found, "17")] = "\x1f".join(
                map(str, (made.symbol, made.account, made.venue, *(f.fill_id for f in charges)))
            )
        yield from charges

    def _fill(self, found: Tags, when: int, quantity: float) -> Fill:
        way = _SIDES.get(_need(found, "54", "Side"))
        if way is None:
            raise Unfit("bad_value", f"Side (54) is {_one(found, '54')[:20]!r}: neither a purchase nor a sale")
        return Fill(
            ts=rfc3339(when), strategy=self.strategy, symbol=_symbol(found), fill_id=_exec_id(found), order_id=self._name(found),
            side=way, quantity=quantity, price=_number(found, "31", "LastPx"), currency=_one(found, "15"),  # type: ignore[arg-type]
            liquidity={"1": "maker", "2": "taker"}.get(_one(found, "851"), ""),  # type: ignore[arg-type]
            order_type=_TYPES.get(_one(found, "40"), ""), account=_one(found, "1"), venue=_venue(found),
        )  # fmt: skip


def _number(found: Tags, tag: str, name: str) -> float:
    return as_number(f"{name} ({tag})", _need(found, tag, name))


def _exec_id(found: Tags) -> str:
    """The fill's id; where a correction keeps the id of what it corrects, one of its own."""
    name = _need(found, "17", "ExecID")
    return name if _one(found, "19") != name else f"{name}#{_one(found, '32')}@{_one(found, '31')}"


def _symbol(found: Tags) -> str:
    said = _one(found, "55")
    return said if said and said != _NO_SYMBOL else _need(found, "48", "Symbol (55) or SecurityID")


def _venue(found: Tags) -> str:
    return _one(found, "30") or _one(found, "207")


def _fees(found: Tags, quantity: float) -> dict[str, float]:
    """Commission (12, 13, 479) and the group of other fees (137, 138), by currency."""
    fees: dict[str, float] = {}
    currency = _one(found, "15")
    if _one(found, "12"):
        per = {"1": quantity, "2": quantity * _number(found, "31", "LastPx"), "3": 1.0}.get(_one(found, "13") or "3")
        if per is None:
            raise Unfit("bad_value", f"CommType (13) is {_one(found, '13')[:20]!r}: must be 1, 2 or 3")
        fees[_one(found, "479") or currency] = _number(found, "12", "Commission") * per
    for k, said in enumerate(found.get("137", [])):
        listed = found.get("138", [])
        of = listed[k] if k < len(listed) else currency
        fees[of] = fees.get(of, 0.0) + as_number("MiscFeeAmt (137)", said)
    return fees


def read(part: Part, context: Context) -> Iterator[Block]:
    log = _Log(strategy_of(context), context.timezone, context.notes if context.notes is not None else {})
    for piece in chunks(part.open(), context.limits.line, part.first):
        if isinstance(piece, Long):
            yield Block(decisions=None, fills=None, rare=[], refusals=[piece.refusal(context.limits.line)])
            continue
        records: list[tuple[int, Native]] = []
        refusals: list[Refusal] = []
        for line, raw in piece.numbered():
            try:
                for found in messages(raw):
                    records += [(line, r) for r in log.take(found)]
            except Unfit as e:
                refusals.append(Refusal(line=line, code=e.code, reason=e.reason))
        yield finished(block(context.book, records, context.bounds), refusals, piece.text)


def read_events(part: Part, context: Context) -> Iterator[Block]:
    """The log of a session's events beside that of its messages: nothing, unless messages stand in it after all."""
    for piece in chunks(part.open(), context.limits.line, part.first):
        if not isinstance(piece, Long) and _START.search(piece.data):
            yield from read(part, context)
            return
