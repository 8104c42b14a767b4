"""Bytes -> records and refusals, for everything that may lie in a spool: one file a format, one table of them (`table.FORMATS`).

1. The suffix of a name picks the container, content picks the format, `[sources.*]` can pin it.
2. A file that cannot be read as a whole is `Unreadable`, said before its first block; a bad record is a refusal and costs only itself.
3. Blocks follow the order of the file and hold some 320 KiB of input each; lines are numbered from 1, blank ones too.
"""

from parityd.formats.port import ANONYMOUS, Context, Format, Limits, Source, Unreadable
from parityd.formats.reading import identify, read, texts
from parityd.formats.table import FORMATS

__all__ = ["ANONYMOUS", "FORMATS", "Context", "Format", "Limits", "Source", "Unreadable", "identify", "read", "texts"]
