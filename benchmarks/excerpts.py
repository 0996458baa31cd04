"""Excerpts of realistic lengths for benchmarks: sentences of the shipped (synthetic) corpus, shuffled together."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from training.data import CORPUS

MEDIAN_WORDS, SPREAD, SHORTEST, LONGEST = 55, 0.7, 5, 220


def sentences() -> list[str]:
    """The participants' sentences of the shipped corpus."""
    found = []
    for path in sorted((CORPUS / "transcripts").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            turn = json.loads(line)
            if turn["speaker"] != "INT":
                found += re.split(r"(?<=[.?!])\s+", turn["text"])
    return found


def excerpts(count: int, *, seed: int = 0) -> Iterator[str]:
    """`count` texts that differ, their lengths in words log-normal: median 55, between 5 and 220."""
    rng, pool = random.Random(seed), sentences()
    for number in range(count):
        length = min(max(rng.lognormvariate(0, SPREAD) * MEDIAN_WORDS, SHORTEST), LONGEST)
        words: list[str] = []
        while len(words) < length:
            words += rng.choice(pool).split()
        yield " ".join(words[: max(int(length), SHORTEST)]) + f" {number}"


def write_jsonl(path: Path, count: int, *, seed: int = 0) -> None:
    """A corpus of `count` excerpts in documents of 50."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(excerpts(count, seed=seed)):
            row = {"id": str(number), "document": f"d{number // 50}", "speaker": "P1", "text": text}
            file.write(json.dumps(row) + "\n")
