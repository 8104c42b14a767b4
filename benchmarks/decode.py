"""msgspec's decode alone, a file at a time, nothing kept: `python benchmarks/decode.py FOLDER`. Prints how many records there were."""

import sys
from pathlib import Path

import msgspec

from parityd.core.records import Native


def main(folder: Path) -> None:
    decoder = msgspec.json.Decoder(Native, strict=False)
    print(sum(len(decoder.decode_lines(path.read_bytes())) for path in sorted(folder.glob("*/*.jsonl"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
