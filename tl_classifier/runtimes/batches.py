"""Windows to batches of arrays, for any runtime and for training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

LENGTH_STEP = 16
"""Windows are padded to a multiple of this: attention is calculated in tiles of so many tokens (other lengths take a
fifth longer), and OpenVINO keeps code and memory for every shape that it has met, so shapes must be few."""

BATCH_COST = 80
"""What a batch costs for itself, in tokens; measured on a CPU, with a network of 6 layers and 384 features."""


def pad(windows: Sequence[Sequence[int]], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids and attention mask, each of shape (windows, length), int64; the length is a multiple of 16."""
    longest = padded(max(map(len, windows)))
    ids = np.full((len(windows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), longest), dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return ids, mask


def padded(length: int) -> int:
    """The length that a window of `length` tokens is padded to."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def plan(lengths: Sequence[int], *, tokens: int, parts: int = 1) -> list[list[int]]:
    """Which windows go through the network together, so that padding and batches together cost least.

    Windows of one padded length cost no padding, but every batch costs something for itself; so where few windows have
    a length, they are padded to the next one that occurs.

    Args:
        lengths: Tokens of each window.
        tokens: Most tokens of a batch, padding included; a longer window is a batch of its own.
        parts: In how many batches of like size work should come at least, so that there is some for each core.

    Returns:
        Positions in `lengths`, batch by batch, the longest first: what is left at the end, when some cores have no
        more to do, is small.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    limit = tokens if parts == 1 else max(min(tokens, sum(map(padded, lengths)) // parts), 1)
    sizes = Counter(padded(length) for length in lengths)
    widths = sorted(sizes, reverse=True)
    # least[j]: the least cost of the windows of the first j widths, and where the last run of widths begins.
    least: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(widths) + 1):
        count, options = 0, []
        for start in range(end - 1, -1, -1):
            count += sizes[widths[start]]
            batches = -(-count // max(limit // widths[start], 1))
            options.append((least[start][0] + count * widths[start] + batches * BATCH_COST, start))
        least.append(min(options))
    runs = []
    end = len(widths)
    while end:
        start = least[end][1]
        runs.append((start, end))
        end = start
    found = []
    done = 0
    for start, end in reversed(runs):
        count = sum(sizes[width] for width in widths[start:end])
        batches = -(-count // max(limit // widths[start], 1))
        bounds = [done + count * number // batches for number in range(batches + 1)]
        found += [order[first:last] for first, last in pairwise(bounds)]
        done += count
    return found
