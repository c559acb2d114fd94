"""How long `reread --help` takes, best and median of ten, beside a bare Python start.

python benchmarks/help_latency.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def seconds(command: list[str], n: int = 10) -> list[float]:
    """Wall-clock seconds of n runs."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    print("| command | best s | median s |\n|---|---:|---:|")
    for name, command in {
        "python -c pass": [sys.executable, "-c", "pass"],
        "reread --help": [sys.executable, "-m", "reread", "--help"],
    }.items():
        found = seconds(command)
        print(f"| `{name}` | {min(found):.3f} | {statistics.median(found):.3f} |")
