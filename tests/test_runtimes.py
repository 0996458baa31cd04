"""The runtimes: what goes through the network together, and that each gives the same codes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import WORDS
from tl_classifier import Classifier, Excerpt
from tl_classifier.bundle import Bundle
from tl_classifier.codebook import Codebook
from tl_classifier.errors import InputError
from tl_classifier.runtimes.batches import BATCH_COST, LENGTH_STEP, pad, padded, plan
from tl_classifier.runtimes.openvino import OpenVINORuntime
from tl_classifier.runtimes.torch import TorchRuntime

lengths = st.lists(st.integers(1, 300), max_size=80)


@given(lengths, st.integers(1, 2000), st.integers(1, 8))
def test_a_plan_has_each_window_once_in_batches_that_fit(given: list[int], tokens: int, parts: int) -> None:
    batches = plan(given, tokens=tokens, parts=parts)
    assert sorted(i for batch in batches for i in batch) == list(range(len(given)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(padded(given[i]) for i in batch) <= tokens
    longest = [given[i] for batch in batches for i in batch]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 64), min_size=16, max_size=80))
def test_a_plan_leaves_no_core_without_work(given: list[int]) -> None:
    assert len(plan(given, tokens=100_000, parts=4)) >= 4


@given(st.lists(st.integers(1, 300), min_size=1, max_size=9))
def test_a_plan_costs_least(given: list[int]) -> None:
    """Less than any other way to cut the windows, by length, into batches."""

    def cost(batches: list[list[int]]) -> int:
        return sum(BATCH_COST + len(batch) * padded(max(given[i] for i in batch)) for batch in batches)

    order = sorted(range(len(given)), key=lambda i: -given[i])
    ways = [
        [0, *(i for i in range(1, len(order)) if cuts >> i & 1), len(order)] for cuts in range(0, 2 ** len(order), 2)
    ]
    least = min(cost([order[first:last] for first, last in pairwise(bounds)]) for bounds in ways)
    assert cost(plan(given, tokens=100_000)) == least


@given(st.lists(st.lists(st.integers(5, 90), min_size=1, max_size=70), min_size=1, max_size=5))
def test_padding_keeps_the_tokens(windows: list[list[int]]) -> None:
    ids, mask = pad(windows, 0)
    assert ids.shape == mask.shape == (len(windows), ids.shape[1])
    assert ids.shape[1] % LENGTH_STEP == 0 and ids.shape[1] - max(map(len, windows)) < LENGTH_STEP
    assert [list(row[seen == 1]) for row, seen in zip(ids, mask, strict=True)] == windows
    assert not ids[mask == 0].any()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts of many lengths, some of several windows."""
    words = WORDS.split()
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, size=size)) for size in rng.integers(1, 120, size=150)]


def windows_of(classifier: Classifier, texts: list[str]) -> list[tuple[int, ...]]:
    return [window.ids for of_text in classifier.preprocessor.windows(texts) for window in of_text]


def test_order_and_company_do_not_matter(tiny_bundle: Path, texts: list[str]) -> None:
    """Each window gets its own logits, alone or among others, wherever it stands."""
    classifier = Classifier.load(tiny_bundle, dtype="float32")
    windows = windows_of(classifier, texts)
    logits = classifier.runtime.logits(windows)
    assert np.allclose(classifier.runtime.logits(windows[::-1])[::-1], logits, atol=1e-4)
    for i in range(0, len(windows), 17):
        assert np.allclose(classifier.runtime.logits([windows[i]])[0], logits[i], atol=1e-4)


def test_the_same_again_is_the_same_to_the_bit(tiny_bundle: Path, texts: list[str]) -> None:
    classifier = Classifier.load(tiny_bundle)
    windows = windows_of(classifier, texts)
    first = classifier.runtime.logits(windows)
    with ThreadPoolExecutor(4) as pool:  # threads share a runtime
        again = list(pool.map(classifier.runtime.logits, [windows] * 6))
    assert all(np.array_equal(first, logits) for logits in again)
    assert np.array_equal(Classifier.load(tiny_bundle).runtime.logits(windows), first)


def test_torch_gives_the_same_logits(tiny_bundle: Path, texts: list[str]) -> None:
    bundle = Bundle.open(tiny_bundle)
    preprocessor = bundle.preprocessor()
    pad_id = int(bundle.manifest["pad_id"])
    runtime = TorchRuntime(bundle.path, bundle.codebook, pad_id=pad_id, separator=preprocessor.separator, device="cpu")
    contexts = ["who felt lost?" if i % 3 else None for i in range(len(texts))]
    windows = [window.ids for of_text in preprocessor.windows(texts, contexts) for window in of_text]
    expected = OpenVINORuntime(bundle.path, pad_id=pad_id, dtype="float32").logits(windows)
    assert np.allclose(runtime.logits(windows), expected, atol=2e-4)
    assert np.allclose(runtime.logits(windows[:1]), expected[:1], atol=2e-4)


def test_what_is_not_here_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="The device 'gpu' is not known; use auto, cpu, cuda"):
        Classifier.load(tiny_bundle, device="gpu")
    with pytest.raises(InputError, match="The dtype 'int8' is not known; use auto, bfloat16, float32"):
        Classifier.load(tiny_bundle, dtype="int8")


def test_no_gpu_is_said(tiny_bundle: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    command = [
        sys.executable,
        "-m",
        "tl_classifier",
        "score",
        str(tmp_path / "in.csv"),
        "-o",
        str(tmp_path / "out.csv"),
    ]
    (tmp_path / "in.csv").write_text("text\nwho am i\n")
    done = subprocess.run(
        [*command, "--model", str(tiny_bundle), "--device", "cuda"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Error: There is no GPU here that torch can use; leave --device out, or use cpu.\n"
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.real_model
def test_bfloat16_gives_the_codes_of_float32() -> None:
    """On the documents of `test`, code by code, in at least 99.5% of the decisions."""
    from training.data import load_corpus

    excerpts = [one.excerpt for one in load_corpus("test", Codebook.default())]
    exact, rounded = (Classifier.load(dtype=dtype) for dtype in ("float32", "auto"))
    logits = [classifier.logits(excerpts) for classifier in (exact, rounded)]
    assert np.abs(logits[0] - logits[1]).mean() < 0.05
    same = decisions = 0
    for one, other in zip(*(c.predict(excerpts) for c in (exact, rounded)), strict=True):
        for dimension in exact.codebook.dimensions:
            differ = set(one.codes[dimension.id]) ^ set(other.codes[dimension.id])
            decisions += len(dimension.codes)
            same += len(dimension.codes) - len(differ)
    assert same / decisions >= 0.995


@pytest.mark.real_model
def test_torch_gives_the_codes_of_the_shipped_model() -> None:
    bundle = Bundle.open(None)
    preprocessor = bundle.preprocessor()
    pad_id = int(bundle.manifest["pad_id"])
    runtime = TorchRuntime(bundle.path, bundle.codebook, pad_id=pad_id, separator=preprocessor.separator, device="cpu")
    excerpts = [
        Excerpt("I had always thought the expert must decide. Why, really? Where had I got that from?"),
        Excerpt("Nobody had asked us that before. It made no sense to me and I was lost.", context="How was it?"),
        Excerpt("The bus was late."),
    ]
    windows = [
        window.ids
        for of_text in preprocessor.windows([e.text for e in excerpts], [e.context for e in excerpts])
        for window in of_text
    ]
    exact = OpenVINORuntime(bundle.path, pad_id=pad_id, dtype="float32")
    assert np.allclose(runtime.logits(windows), exact.logits(windows), atol=5e-3)
