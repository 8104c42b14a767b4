"""What a request may ask: names, days, limits and cursors, read and judged before the desk hears of them."""

import re
from datetime import date

from starlette.requests import Request

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}\Z", re.ASCII)
CURSOR = re.compile(r"[A-Za-z0-9._~=-]{1,512}\Z", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100


class Asked:
    """The query of a request; what is wrong with it is collected, not raised. An empty value is an absent one."""

    def __init__(self, request: Request) -> None:
        self.wrong: list[str] = []
        self._given: dict[str, str] = {}
        for key, value in request.query_params.multi_items():
            if key not in ("strategy", "day", "limit", "cursor"):
                self.wrong.append(f"{key[:64]}: unknown parameter")
            elif key in self._given:
                self.wrong.append(f"{key}: given twice")
            else:
                self._given[key] = value

    def strategy(self) -> str | None:
        value = self._given.get("strategy") or None
        if value is not None and not NAME.match(value):
            self.wrong.append("strategy: no name of a strategy")
        return value

    def day(self) -> str | None:
        value = self._given.get("day") or None
        if value is not None and not is_day(value):
            self.wrong.append("day: expected YYYY-MM-DD")
        return value

    def limit(self) -> int:
        value = self._given.get("limit") or str(DEFAULT_LIMIT)
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= MAX_LIMIT:
            self.wrong.append(f"limit: expected a whole number from 1 to {MAX_LIMIT}")
            return DEFAULT_LIMIT
        return int(value)

    def cursor(self) -> str | None:
        value = self._given.get("cursor") or None
        if value is not None and not CURSOR.match(value):
            self.wrong.append("cursor: none of ours")
        return value


def is_day(text: str) -> bool:
    """Whether a text is a UTC day, `YYYY-MM-DD`."""
    if not DAY.match(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
