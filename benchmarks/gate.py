"""What `Gate.read()` costs: an unchanged file, a new publication, a million reads kept in no memory.

`python benchmarks/gate.py [READS]`; exit 1 where an unchanged file costs 5 microseconds or more, or the reads keep memory.
The file is renewed as parityd would, outside of what is measured; the best of five rounds counts, as with `timeit`.
"""

import json
import os
import sys
import tempfile
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

from parityd.engine import Gate

LIMIT_US = 5.0
STRATEGIES = 20


def publish(folder, sequence):
    permission = {"action": "CONTINUE", "trading_enabled": True, "size_multiplier": 1.0, "reason": "as expected"}
    issued = datetime.now(UTC).replace(microsecond=0)
    body = {
        "schema": "parityd/trading_override/1",
        "sequence": sequence,
        "decision_sequence": 1,
        "instance": "bench",
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "issued_at": issued.isoformat(),
        "issued_boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "ttl_seconds": 600,
        "expires_at": (issued + timedelta(seconds=600)).isoformat(),
        "on_expiry": "DISABLE_TRADING",
        **permission,
        "strategies": {f"s{number}": permission for number in range(STRATEGIES)},
        "default": permission,
    }
    temporary = Path(folder) / ".trading_override.json"
    temporary.write_text(json.dumps(body))
    temporary.chmod(0o644)
    os.rename(temporary, Path(folder) / "trading_override.json")


def unchanged_us(gate, reads):
    rounds = []
    for _ in range(5):
        started = time.perf_counter_ns()
        for _ in range(reads // 5):
            gate.read()
        rounds.append((time.perf_counter_ns() - started) / (reads // 5) / 1e3)
    assert gate.read().fresh
    return min(rounds)


def changed_us(gate, folder, publications=500):
    spent = 0
    for sequence in range(2, publications + 2):
        publish(folder, sequence)
        started = time.perf_counter_ns()
        verdict = gate.read()
        spent += time.perf_counter_ns() - started
        assert verdict.sequence == sequence
    return spent / publications / 1e3


def kept_bytes(gate, reads):
    gate.read()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(reads):
        gate.read()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept


def main():
    reads = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        publish(folder, 1)
        gate = Gate(folder, "s7")
        changed = changed_us(gate, folder)
        time.sleep(0.05)  # the last file is older than a tick of the file system's clock
        unchanged = unchanged_us(gate, reads)
        kept = kept_bytes(gate, reads)
    print(f"unchanged file   {unchanged:8.2f} us a read   (limit {LIMIT_US} us, {reads} reads)")
    print(f"new publication  {changed:8.2f} us a read   ({STRATEGIES} strategies)")
    print(f"memory kept      {kept:8d} bytes      ({reads} reads)")
    sys.exit(unchanged >= LIMIT_US or kept > 4096)


if __name__ == "__main__":
    main()
