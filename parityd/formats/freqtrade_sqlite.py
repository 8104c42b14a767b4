"""freqtrade's database: `trades` and `orders`, joined, told as the REST interface tells them; and a safe copy of one that is in use.

1. Rows come as they lie in the tables; orders wait until their trade is known, so what is remembered is one row an order.
2. Times are UTC without saying so.
3. A database in use is copied by SQLite's own backup, read-only: never opened as if it could not change.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from parityd.core.columns import Block, block
from parityd.core.records import Native, Refusal
from parityd.formats.fields import Unfit, need, text
from parityd.formats.freqtrade import _orders, _owner
from parityd.formats.port import Context, Part, Sample, Unreadable, strategy_of
from parityd.formats.rows import batches, finished

Row = Mapping[str, Any]
TABLES = ("trades", "orders")
_TOGETHER = 1000
