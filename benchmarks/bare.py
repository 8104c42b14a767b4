"""The bare loop that a fill is measured beside: watch a folder, read the file, write another, fsync, rename. `python benchmarks/bare.py FOLDER TARGET`."""

import asyncio
import os
import sys
from pathlib import Path

from asyncinotify import Inotify, Mask


async def main(folder: Path, target: Path) -> None:
    hidden = target.with_name(f".{target.name}")
    with Inotify() as notify:
        notify.add_watch(folder, Mask.MOVED_TO)
        target.write_bytes(b"")
        async for event in notify:
            raw = (folder / str(event.name)).read_bytes()
            descriptor = os.open(hidden, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            os.write(descriptor, raw)
            os.fsync(descriptor)
            os.close(descriptor)
            os.rename(hidden, target)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
