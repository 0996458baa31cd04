"""A bundle on disk through the classifier: what is loaded, what is refused, what comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tl_classifier import BundleError, Classifier, Codebook, Excerpt, InputError
from tl_classifier.decoding import Decoding, pool_windows
from tl_classifier.evidence import passages, without
from tl_classifier.excerpts import record

TEXTS = [
    "I was ashamed and asked why I had never learnt it.",
    "The bus was late on Monday.",
    "We had a plan, and the first time I tried it nothing made sense. " * 12,  # several windows
    "sure",
]


def test_a_batch_gives_what_single_excerpts_give_in_the_order_of_the_batch(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    together = classifier.predict([Excerpt(text) for text in TEXTS])
    for text, prediction in zip(TEXTS, together, strict=True):
        alone = classifier.predict([Excerpt(text)])[0]
        for dimension, values in alone.probabilities.items():
            for code, value in values.items():
                assert prediction.probabilities[dimension][code] == pytest.approx(value, abs=0.02)
    assert len({json.dumps(p.probabilities) for p in together}) == len(TEXTS)
    assert classifier.predict([Excerpt(text) for text in TEXTS]) == together  # the same, run to run
    assert classifier.predict([]) == []


def test_a_prediction_is_whole(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    codebook = Codebook.default()
    for prediction in classifier.predict([Excerpt(text) for text in TEXTS]):
        assert prediction.model == "tiny@0.0"
        for dimension in codebook.dimensions:
            probabilities = prediction.probabilities[dimension.id]
            assert list(probabilities) == list(dimension.code_ids)
            assert all(0 <= p <= 1 and round(p, 4) == p for p in probabilities.values())
            assert prediction.codes[dimension.id] == dimension.in_order(c for c, p in probabilities.items() if p >= 0.5)
            assert prediction.groups[dimension.id] == dimension.groups_of(prediction.codes[dimension.id])


def test_openvino_gives_what_torch_gives(tiny_bundle: Path) -> None:
    """The graph is the network: same logits as the torch model read from the bundle's own weights."""
    import torch

    from training.export import load_weights
    from training.model import ExcerptModel

    classifier = Classifier.load(tiny_bundle)
    separator = classifier.preprocessor.separator
    model = ExcerptModel.from_pretrained(str(tiny_bundle), classifier.codebook, separator=separator).eval()
    load_weights(model, tiny_bundle)
    questions = [None if i % 2 else "What had you learnt?" for i in range(len(TEXTS))]
    windows = [w.ids for ws in classifier.preprocessor.windows(TEXTS, questions) for w in ws]
    found = classifier.runtime.logits(windows)
    for window, logits in zip(windows, found, strict=True):
        ids = torch.tensor([window])
        with torch.no_grad():
            expected = model.window_logits(ids, torch.ones_like(ids))[0].numpy()
        np.testing.assert_allclose(logits, expected, atol=0.05 * np.abs(expected).max())


def test_the_encoder_opens_in_transformers(tiny_bundle: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(str(tiny_bundle))(TEXTS[0])["input_ids"]
    assert tokens == list(Classifier.load(tiny_bundle).preprocessor.windows(TEXTS[:1])[0][0].ids)
    assert AutoModel.from_pretrained(str(tiny_bundle)).config.hidden_size == 32


def test_training_and_serving_see_the_same_token_ids(tiny_bundle: Path) -> None:
    from tl_classifier import CodedExcerpt
    from training.data import to_dataset

    awkward = [
        *TEXTS,
        "\u201cP1: we didn\u2019t\u201d \ufb01rst\u00ad\n of all\u2026",
        "[00:01:02] INT: what\nPage 3 of 9\nwas",
    ]
    classifier = Classifier.load(tiny_bundle)
    seen: list[tuple[int, ...]] = []

    class Spy:
        device = "none"

        def logits(self, windows: list[tuple[int, ...]]) -> np.ndarray:
            seen.extend(windows)
            return np.zeros((len(windows), classifier.codebook.outputs), dtype=np.float32)

    classifier.runtime = Spy()
    excerpts = [
        Excerpt(text, context="INT: What\u2019s \ufb01rst?" if i % 2 else None) for i, text in enumerate(awkward)
    ]
    classifier.predict(excerpts)
    coded = [CodedExcerpt(excerpt, {"stage": (), "theme": ()}) for excerpt in excerpts]
    dataset = to_dataset(coded, classifier.codebook, classifier.preprocessor)
    trained_on = [tuple(window) for windows in dataset["windows"] for window in windows]
    assert [np.array(ids).tobytes() for ids in trained_on] == [np.array(ids).tobytes() for ids in seen]
    assert max(map(len, seen)) == 64
    assert len(seen) > len(awkward)


def test_the_question_is_read_and_not_coded(tiny_bundle: Path) -> None:
    """The question changes what is seen in the answer, and the mean is taken over the answer's tokens alone."""
    import torch

    from training.model import ExcerptModel

    classifier = Classifier.load(tiny_bundle)
    preprocessor = classifier.preprocessor
    answer = Excerpt("no, not at all")
    alone, asked, other = classifier.logits([answer, *(replace(answer, context=q) for q in ("who?", "was it shame?"))])
    assert not np.allclose(alone, asked) and not np.allclose(asked, other)
    assert np.array_equal(classifier.logits([replace(answer, context="  ")])[0], alone)

    model = ExcerptModel.from_pretrained(
        str(tiny_bundle), classifier.codebook, separator=preprocessor.separator, dropout=0
    ).eval()
    model.encoder.forward = lambda input_ids, attention_mask: SimpleNamespace(  # type: ignore[method-assign]
        last_hidden_state=torch.nn.functional.one_hot(input_ids, 200).float()
    )
    (window,) = preprocessor.windows([answer.text], ["was it shame?"])[0]
    ids = torch.tensor([[*window.ids, 0, 0]])
    mean = model.features(ids, (ids != 0).long())[0]
    text = preprocessor.windows([answer.text])[0][0].ids
    assert window.ids[: len(text)] == text and window.ids[-1] == preprocessor.separator
    assert set(mean.nonzero().flatten().tolist()) == set(text)
    assert mean.sum() == pytest.approx(1)


def test_evidence(tiny_bundle: Path) -> None:
    """The passage named is the one without which the probability is lowest; offsets are those of the text as given."""
    classifier = Classifier.load(tiny_bundle)
    texts = [
        "  I was lost.  Nothing made sense\u2026 Why should the expert decide?\nNobody asked!",
        "we learn, and I try, and who knows",
        "shame",
        "P1: Was it shame? Yes.",
    ]
    plain = classifier.predict([Excerpt(text) for text in texts])
    found = classifier.predict([Excerpt(text) for text in texts], evidence=True)
    assert [replace(p, evidence=None) for p in found] == plain
    assert plain[0].evidence is None
    named = 0
    for text, prediction in zip(texts, found, strict=True):
        spans = passages(text)
        assert prediction.evidence is not None
        assert {d: set(codes) for d, codes in prediction.evidence.items()} == {
            d: set(codes) for d, codes in prediction.codes.items()
        }
        for dimension, by_code in prediction.evidence.items():
            for code, span in by_code.items():
                named += 1
                assert span in spans
                assert text[slice(*span)] == text[slice(*span)].strip() != ""
                if len(spans) > 1:
                    rest = classifier.predict([without(Excerpt(text), other) for other in spans])
                    remaining = [r.probabilities[dimension][code] for r in rest]
                    assert remaining[spans.index(span)] == pytest.approx(min(remaining), abs=0.01)
    assert named > 8
    row = record(Excerpt("x"), found[0], model="m")
    assert list(row)[-1] == "evidence"
    assert "evidence" not in record(Excerpt("x"), plain[0], model="m")


def test_no_words(tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="Excerpt 2 has no words"):
        Classifier.load(tiny_bundle).predict([Excerpt("yes"), Excerpt(" ... ")])


@pytest.mark.parametrize("name", ["model.safetensors", "graph.xml", "decoding.json", "codebook.yaml", "constants.bin"])
def test_a_changed_byte_is_refused(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Classifier.load(copy)


def test_no_bundle_and_half_a_bundle_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        Classifier.load(tmp_path)
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json is missing"):
        Classifier.load(copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(BundleError, match="layout version 99"):
        Classifier.load(copy)
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        Classifier.load(copy)


def test_nothing_is_sent_and_torch_stays_out(tiny_bundle: Path) -> None:
    """Every attempt at a connection or a look-up of a name ends the process; openvino's telemetry would make one."""
    program = f"""
import sys, threading
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        import os
        print("NETWORK", event, args, flush=True)
        os._exit(3)
sys.addaudithook(refuse)
from tl_classifier import Classifier, Excerpt
Classifier.load({str(tiny_bundle)!r}).predict([Excerpt("I was lost.")])
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join()
assert not {{"torch", "transformers", "openvino_telemetry.main"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_pooling_over_windows() -> None:
    codebook = Codebook.from_dict(
        {
            "schema": 1,
            "name": "mixed",
            "version": "1",
            "title": "Mixed",
            "dimensions": [
                {"id": "topic", "kind": "multi-label", "codes": [{"id": "a"}, {"id": "b"}]},
                {"id": "mood", "kind": "exclusive", "codes": [{"id": "glad"}, {"id": "sad"}]},
            ],
        }
    )
    logits = np.array([[1.0, -2.0, 3.0, 0.0, 0.0], [5.0, -4.0, 1.0, 2.0, 0.0], [0.0, 0.5, 9.0, 1.0, 3.0]])
    pooled = pool_windows(logits, [2, 1], codebook)
    assert pooled.tolist() == [[5.0, -2.0, 2.0, 1.0, 0.0], [0.0, 0.5, 9.0, 1.0, 3.0]]
    first, second = Decoding.uncalibrated(codebook).predictions(pooled, codebook, "m@1")
    assert (first.codes["topic"], first.codes["mood"]) == (("a",), ("glad",))
    assert second.codes == {"topic": ("a", "b"), "mood": ("glad",)}
    silent = Decoding.uncalibrated(codebook).predictions(np.array([[-9, -9, 0, 0, 7.0]]), codebook, "m@1")[0]
    assert silent.codes == {"topic": (), "mood": ()}
    assert sum(silent.probabilities["mood"].values()) < 0.01
