"""One way to score a corpus, timed: run by `benchmarks.offline`, in the peers' environment.

python benchmarks/offline_peers.py SYSTEM BUNDLE TEXTS

BUNDLE is a bundle of tl-classifier, TEXTS a JSON list of strings. Each system runs the bundle's encoder with a head of
as many outputs. Prints JSON: the number of texts and the seconds, without what is done once (loading, exporting, the
first batches).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

BATCH = 32
OUTPUTS = 15
LONGEST = 256
Score = Callable[[Sequence[str]], object]


class Network(torch.nn.Module):
    """Encoder, mean pooling, a linear head."""

    def __init__(self, bundle: str) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(bundle, add_pooling_layer=False).float()
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, OUTPUTS)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Scores, shape (texts, outputs)."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[:, :, None].to(hidden.dtype)
        scored: torch.Tensor = self.head((hidden * mask).sum(1) / mask.sum(1))
        return scored


def pipeline(bundle: str, *, by_length: bool) -> Score:
    """The pipeline of transformers, as its documentation shows it for many texts."""
    from transformers import AutoModelForSequenceClassification, TextClassificationPipeline

    tokenizer = AutoTokenizer.from_pretrained(bundle)
    model = AutoModelForSequenceClassification.from_pretrained(bundle, num_labels=OUTPUTS, dtype=torch.float32)
    pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer, top_k=None, function_to_apply="sigmoid")

    def score(texts: Sequence[str]) -> object:
        given = sorted(texts, key=len) if by_length else list(texts)
        return list(pipe(given, batch_size=BATCH, truncation=True, max_length=LONGEST))

    return score


def setfit(bundle: str) -> Score:
    """`predict_proba` of SetFit, with a head of scikit-learn for as many codes."""
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    word = models.Transformer(bundle, max_seq_length=LONGEST)
    width = word.get_word_embedding_dimension()
    body = SentenceTransformer(modules=[word, models.Pooling(width)], device="cpu")
    rng = np.random.default_rng(0)
    head = MultiOutputClassifier(LogisticRegression())
    head.fit(rng.normal(size=(60, width)), rng.integers(2, size=(60, OUTPUTS)))
    model = SetFitModel(model_body=body, model_head=head, multi_target_strategy="multi-output")
    return lambda texts: model.predict_proba(list(texts), batch_size=BATCH)


def onnxruntime(bundle: str, *, int8: bool) -> Score:
    """ONNX Runtime over batches by length."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        example = torch.ones((2, 8), dtype=torch.long)
        dynamic = {"input_ids": {0: "n", 1: "length"}, "attention_mask": {0: "n", 1: "length"}}
        torch.onnx.export(
            Network(bundle).eval(),
            (example, example),
            path,
            input_names=["input_ids", "attention_mask"],
            dynamic_axes=dynamic,
            dynamo=False,
        )
        if int8:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(path, path := Path(name) / "int8.onnx")
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    return _by_length(bundle, lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask}))


def openvino(bundle: str, *, apart: bool) -> Score:
    """OpenVINO in a bare loop over batches by length: one after another, or each core its own."""
    import openvino as ov

    folder = Path(bundle)
    parts = [np.fromfile(folder / name, dtype=np.uint8) for name in ("model.safetensors", "constants.bin")]
    core = ov.Core()
    model = core.read_model((folder / "graph.xml").read_bytes(), ov.Tensor(np.concatenate(parts)))
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT" if apart else "LATENCY"})
    if not apart:
        return _by_length(bundle, lambda ids, mask: compiled([ids, mask]), step=16)
    queue = ov.AsyncInferQueue(compiled)
    return _by_length(bundle, lambda ids, mask: queue.start_async([ids, mask]), queue.wait_all, step=16)


def _by_length(
    bundle: str, run: Callable[[Any, Any], object], finish: Callable[[], object] = lambda: None, *, step: int = 1
) -> Score:
    """Tokenise all, sort by length, and go through it in batches."""
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    tokenizer.model_max_length = LONGEST

    def score(texts: Sequence[str]) -> None:
        encoded = tokenizer(list(texts), truncation=True, max_length=LONGEST)["input_ids"]
        encoded.sort(key=len)
        for start in range(0, len(encoded), BATCH):
            batch = encoded[start : start + BATCH]
            longest = -(-max(map(len, batch)) // step) * step
            ids = np.full((len(batch), longest), tokenizer.pad_token_id, dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, one in enumerate(batch):
                ids[row, : len(one)] = one
                mask[row, : len(one)] = 1
            run(ids, mask)
        finish()

    return score


def gemm(size: int = 4096) -> float:
    """Rate of bfloat16 matrix multiplication in floating-point operations a second: the best of several."""
    a, b = (torch.randn(size, size).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


SYSTEMS: dict[str, Callable[[str], Score]] = {
    "pipeline": lambda bundle: pipeline(bundle, by_length=False),
    "pipeline-sorted": lambda bundle: pipeline(bundle, by_length=True),
    "setfit": setfit,
    "onnxruntime": lambda bundle: onnxruntime(bundle, int8=False),
    "onnxruntime-int8": lambda bundle: onnxruntime(bundle, int8=True),
    "openvino": lambda bundle: openvino(bundle, apart=False),
    "openvino-apart": lambda bundle: openvino(bundle, apart=True),
}


def main() -> None:
    system, bundle, path = sys.argv[1:]
    if system == "gemm":
        print(json.dumps({"rate": gemm()}))
        return
    texts = json.loads(Path(path).read_text("utf-8"))
    with torch.inference_mode():
        score = SYSTEMS[system](bundle)
        score(texts[:64])
        began = time.perf_counter()
        score(texts)
        print(json.dumps({"texts": len(texts), "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
