"""Peak memory of `tl-classifier score` for a small and a large corpus, and a kill half-way.

python -m benchmarks.memory [--large 100000] [--small 1000]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.excerpts import write_jsonl


def start(source: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tl_classifier", "score", str(source), "-o", str(output), "--no-text", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    """Wait for the process; its greatest resident memory in MiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"score ended with {process.returncode}")
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--large", type=int, default=100_000)
    counts = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks, seconds = {}, {}
        for count in (counts.small, counts.large):
            write_jsonl(folder / f"{count}.jsonl", count)
            began = time.monotonic()
            peaks[count] = peak_mib(start(folder / f"{count}.jsonl", folder / f"out-{count}.jsonl"))
            seconds[count] = time.monotonic() - began
            print(f"{count:>9} excerpts: peak {peaks[count]:6.0f} MiB, {seconds[count]:6.1f} s", flush=True)
        print(f"ratio of the peaks: {peaks[counts.large] / peaks[counts.small]:.2f} (at most 1.5 is wanted)")

        source, output = folder / f"{counts.large}.jsonl", folder / "killed.jsonl"
        process = start(source, output)
        time.sleep(seconds[counts.large] / 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            sys.exit("the run ended before it was killed")
        peak_mib(start(source, output, "--resume"))
        same = digest(output) == digest(folder / f"out-{counts.large}.jsonl")
        print(f"killed half-way and resumed: the output is {'the same, byte for byte' if same else 'DIFFERENT'}")
        sys.exit(not same)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
