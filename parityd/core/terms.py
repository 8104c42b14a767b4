"""Names, instruments and money: what a (strategy, symbol) pair of a record means once the configuration has been read.

1. Names get codes in order of arrival; codes live in rows and in the store, never in hashes.
2. A symbol is known by its canonical name (after `[symbols] alias`), in both books.
3. Quote currency: the record's own, else `[symbols]`, else the quote side of BASE/QUOTE or BASE-QUOTE, else the fee's own. An inverse contract
   is linear in 1/price with the side reversed and the base as quote.
"""

import re

import msgspec
import numpy as np

from parityd.core.hashing import seed
from parityd.core.parameters import Parameters, SymbolTerms

_PAIR = re.compile(r"([A-Za-z0-9.]{1,20})[/-]([A-Za-z0-9.]{2,20})(?::[A-Za-z0-9.-]+)?\Z")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,9}\Z")
_NOT_MONEY = {"PERP", "SWAP", "SPOT", "FUT", "FUTURE", "FUTURES"}


class Names:
    """Text <-> code, growing; code 0 is the empty text."""

    def __init__(self, texts: list[str] | None = None) -> None:
        self.texts: list[str] = texts or [""]
        self.codes: dict[str, int] = {t: k for k, t in enumerate(self.texts)}

    def code(self, text: str) -> int:
        found = self.codes.get(text)
        if found is None:
            found = self.codes[text] = len(self.texts)
            self.texts.append(text)
        return found

    def __getitem__(self, code: int) -> str:
        return self.texts[code]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy and instrument, resolved."""

    strategy: str
    symbol: str  # canonical
    sym: int
    base: str
    own_base: str  # as the record's own name of the instrument has it
    quote: str
    ccy: int
    multiplier: float
    inverse: bool
    by_trade: np.uint64  # seeds of execution names
    by_order: np.uint64


def canonical(symbol: str, parameters: Parameters) -> str:
    """The one name of an instrument."""
    terms = parameters.symbols.get(symbol)
    return terms.alias if terms is not None and terms.alias else symbol


def split_symbol(symbol: str) -> tuple[str, str]:
    """(base, quote) of BASE/QUOTE, BASE/QUOTE:SETTLE or BASE-QUOTE; ("", "") where the name does not say."""
    found = _PAIR.match(symbol)
    if found is None:
        return "", ""
    base, quote = found.groups()
    if "-" in symbol and "/" not in symbol and (not _CURRENCY.match(quote) or quote in _NOT_MONEY or quote.isdigit()):
        return "", ""
    return base, quote


class Instruments:
    """Resolves pairs of names, once each."""

    def __init__(self, parameters: Parameters, names: Names) -> None:
        self.parameters = parameters
        self.names = names
        self._pairs: dict[tuple[str, str, str], Pair] = {}

    def terms(self, symbol: str) -> SymbolTerms:
        name = canonical(symbol, self.parameters)
        table = self.parameters.symbols
        return table.get(symbol) or table.get(name) or SymbolTerms()

    def pair(self, book: str, strategy: str, symbol: str) -> Pair:
        found = self._pairs.get((book, strategy, symbol))
        if found is None:
            found = self._pairs[(book, strategy, symbol)] = self._resolve(book, strategy, symbol)
        return found

    def _resolve(self, book: str, strategy: str, symbol: str) -> Pair:
        name = canonical(symbol, self.parameters)
        mine = self.parameters.symbols.get(symbol) or SymbolTerms()
        shared = self.parameters.symbols.get(name) or SymbolTerms()
        base, quote = split_symbol(name)
        base = mine.base or shared.base or base
        quote = mine.currency or shared.currency or quote
        inverse = mine.inverse or shared.inverse
        own = mine.base or split_symbol(symbol)[0] or base
        if inverse:
            base, quote = quote, base or quote
            own = base
        multiplier = mine.multiplier or shared.multiplier or 1.0
        return Pair(
            strategy=strategy, symbol=name, sym=self.names.code(name), base=base, own_base=own, quote=quote, ccy=self.names.code(quote),
            multiplier=multiplier, inverse=inverse, by_trade=seed(f"trade\0{strategy}\0{name}"), by_order=seed(f"order\0{book}\0{strategy}\0{name}"),
        )  # fmt: skip
