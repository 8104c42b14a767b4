"""Tables from files (market data, orders), native records to files.

1. Tables come as `.csv` (a header of names), `.jsonl`, `.json` (a list of objects) or `.parquet`, the text forms also `.gz` and `.zst`.
   Names are read without regard to case; unknown columns are ignored.
2. What cannot be read is a MarketDataError: the file, the row (from 1, the header not counted), the reason. What rows mean is not known
   here.
3. Records are written durably and by rename, so that a spool never sees half a file.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from parityd.edges.decision_log import read_bytes
from parityd.edges.files import replace_durably

Rows = list[dict[str, Any]]


class MarketDataError(ValueError):
    """A file of market data or orders that cannot be taken: which, where, why."""

    def __init__(self, path: Path | str, reason: str, row: int = 0) -> None:
        super().__init__(f"{path}: row {row}: {reason}" if row else f"{path}: {reason}")
        self.path, self.row, self.reason = str(path), row, reason


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).suffix.lower()


def _csv(path: Path, text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip().lower() for name in next(reader, [])]
    if not header or not any(name.isidentifier() for name in header):
        raise MarketDataError(path, "no header line of column names" if header else "the file is empty")
    rows = []
    for n, cells in enumerate(filter(None, reader), 1):
        if len(cells) != len(header):
            raise MarketDataError(path, f"{len(cells)} cells under {len(header)} names", n)
        rows.append(dict(zip(header, (c.strip() or None for c in cells), strict=True)))
    return rows


def _objects(path: Path, found: Iterable[Any]) -> Rows:
    rows = []
    for n, row in enumerate(found, 1):
        if not isinstance(row, Mapping):
            raise MarketDataError(path, "not an object of names and values", n)
        rows.append({str(k).lower(): v for k, v in row.items()})
    return rows


def _jsonl(path: Path, raw: bytes) -> Iterable[Any]:
    for n, line in enumerate(raw.splitlines(), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                raise MarketDataError(path, f"not JSON: {e}", n) from None


def _parquet(where: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(where).to_pylist()
    except pyarrow.ArrowException as e:
        raise MarketDataError(where, f"not Parquet: {str(e).splitlines()[0]}") from None
    return rows


def read_table(path: Path | str) -> Rows:
    """The rows of a file (rule 1), names in lower case, empty cells None. MarketDataError."""
    where = Path(path)
    kind = _suffix(where)
    try:
        if kind == ".parquet":
            return _objects(where, _parquet(where))
        raw = read_bytes(where)
    except OSError as e:
        raise MarketDataError(path, e.strerror or str(e)) from None
    if kind == ".csv":
        try:
            return _csv(where, raw.decode("utf-8-sig"))
        except UnicodeDecodeError as e:
            raise MarketDataError(path, f"not UTF-8: {e.reason} at byte {e.start}") from None
        except csv.Error as e:
            raise MarketDataError(path, f"not CSV: {e}") from None
    if kind == ".jsonl":
        return _objects(where, _jsonl(where, raw))
    if kind == ".json":
        try:
            found = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise MarketDataError(path, f"not JSON: {e}") from None
        return _objects(where, found if isinstance(found, list) else [found])
    raise MarketDataError(path, f"{kind or 'no suffix'}: not one of .csv .jsonl .json .parquet")


def lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Native records as JSON lines."""
    return msgspec.json.Encoder().encode_lines(list(records))


def write_records(path: Path | str, records: Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Any]]) -> Path:
    """Write native records to a file, durably and by rename (rule 3). OSError: the disk refuses."""
    where = Path(path)
    where.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(where, lines(records), 0o644)
    return where
