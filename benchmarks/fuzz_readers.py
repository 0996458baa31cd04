"""Damages files at random, and looks at what every reader makes of them.

An interview is written in each format that is read; a few of its bytes are then changed, cut out or doubled, in the
file as it stands or in a part of its archive. Each such file is read in a process of its own. It must be read, or
refused with a sentence that names it; a crash is any other error, or the end of the process, and a hang is more than
`MAX_SECONDS`. Files with which that happened are kept.

    python -m benchmarks.fuzz_readers --minutes 10
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Not needed here: so that not every process that reads a file has to import them anew.
import markdown_it  # noqa: F401
import openpyxl  # noqa: F401
import pyarrow.parquet  # noqa: F401

from tests import transcript_files
from tests.test_refi_qda import foreign, small_project
from tl_classifier.corpus import inputs
from tl_classifier.errors import UserError

MAX_SECONDS = 120
"""Time of one file, in seconds; a machine may be busy with other things."""

MAX_MEMORY = 500
"""MB that one file may take, with all that the program is made of."""

KEPT = Path("runs/fuzzed")
"""Where files are kept that a reader crashed on, or hung in."""

_STRANGE = (
    *(b"", b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"-1", b"99999999999999999999", b"\n", b"\t"),
    *(
        b"<",
        b">",
        b"&",
        b"&#0;",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b'"',
        b"{",
        b"}",
        b"[",
        b"\\",
        b"%",
        b":",
        b"**",
    ),
)


def seeds(folder: Path) -> dict[str, Sequence[bytes]]:
    """The interview in every format that is read, and projects as this program and others write them."""
    endings = (*transcript_files.DOCUMENTS, *transcript_files.TABLES)
    interviews = {ending: (transcript_files.write(folder, ending).read_bytes(),) for ending in endings}
    own, _, _ = small_project(folder / "own.qdpx")
    return {**interviews, ".qdpx": (own.read_bytes(), foreign(folder / "foreign.qdpx").read_bytes())}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with something changed in it, or in a part of it where it is an archive."""
    if content.startswith(b"PK") and chance.random() < 0.7:
        return _mutated_archive(content, chance)
    return _mutated_bytes(content, chance)


def _mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        upto = min(len(changed), at + chance.choice((1, 2, 8, 64, 1024)))
        match chance.randrange(6):
            case 0 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at:upto]
            case 2:
                changed[at:at] = changed[at:upto] * chance.choice((1, 2, 1000))
            case 3:
                changed[at:at] = chance.choice(_STRANGE) * chance.choice((1, 1, 100))
            case 4:
                changed[at:upto] = chance.choice(_STRANGE)
            case 5 if chance.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def _mutated_archive(content: bytes, chance: random.Random) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = chance.choice(names)
        for name in names:
            part = old.read(name)
            if name == chosen and chance.random() < 0.05:
                continue
            new.writestr(name, _mutated_bytes(part, chance) if name == chosen else part)
    return written.getvalue()


@dataclass(slots=True)
class Tally:
    """What became of the files of one format.

    Attributes:
        outcomes: ``read``, ``refused``, ``crashes`` or ``hangs``, to numbers of files.
        megabytes: What the largest took.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    megabytes: float = 0.0


def try_file(path: Path) -> tuple[str, float]:
    """Read a file in a process of its own: what became of it, and how many MB it took at most."""
    child = os.fork()
    if child == 0:
        os._exit(_read(path))
    _, status, usage = os.wait4(child, 0)  # the child's own children are counted in
    megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    code = os.waitstatus_to_exitcode(status)
    return _OUTCOMES.get(code, "crashes"), megabytes


_OUTCOMES = {0: "read", 1: "refused", -signal.SIGALRM: "hangs"}


def _read(path: Path) -> int:
    signal.alarm(MAX_SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for _ in inputs.read_rows([path]):
            pass
    except UserError as error:
        return 1 if str(path) in str(error) else 2
    except BaseException:
        traceback.print_exc()
        return 2
    return 0


def main() -> None:
    """Fuzz the readers, and print what became of the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another gives other files (default: 0)")
    options = parser.parse_args()
    tallies: dict[str, Tally] = {}
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        sound = seeds(Path(folder))
        endings = sorted(sound)
        number = 0
        while time.monotonic() < end:
            ending = endings[number % len(endings)]
            chance = random.Random(f"{options.seed}/{number}")
            content = mutated(chance.choice(sound[ending]), chance)
            path = Path(folder) / f"{options.seed}-{number}{ending}"
            path.write_bytes(content)
            outcome, megabytes = try_file(path)
            tally = tallies.setdefault(ending, Tally())
            tally.outcomes[outcome] += 1
            tally.megabytes = max(tally.megabytes, megabytes)
            if outcome in ("crashes", "hangs") or megabytes > MAX_MEMORY:
                KEPT.mkdir(parents=True, exist_ok=True)
                path.replace(KEPT / path.name)
            else:
                path.unlink()
            number += 1
    sys.exit(_print(tallies))


def _print(tallies: dict[str, Tally]) -> int:
    columns = ("read", "refused", "crashes", "hangs")
    print(f"| reader | files tried | {' | '.join(columns)} | peak MB |")
    print("|---|" + "---:|" * (len(columns) + 2))
    for ending, tally in tallies.items():
        numbers = " | ".join(f"{tally.outcomes[column]:,}" for column in columns)
        print(f"| {ending} | {tally.outcomes.total():,} | {numbers} | {tally.megabytes:.0f} |")
    bad = sum(tally.outcomes["crashes"] + tally.outcomes["hangs"] for tally in tallies.values())
    return int(bad > 0 or any(tally.megabytes > MAX_MEMORY for tally in tallies.values()))


if __name__ == "__main__":
    main()
