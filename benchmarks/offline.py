"""The scorer against other ways to run the same encoder over the same excerpts, in one run.

python -m benchmarks.offline --peers ENVIRONMENT [--excerpts 4096] [--rounds 3]

Each system runs in a process of its own, on all cores, and all of them in turns: a round is each system once, and the
table shows the median over the rounds. Slow ones are given fewer of the excerpts (the first ones; the lengths of all
excerpts have one distribution). Tokenising is in the time, loading is not; only this program reads and writes files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.excerpts import excerpts
from tl_classifier.bundle import Bundle
from tl_classifier.registry import resolve

OWN = "own"
PEERS = {
    "pipeline": ("transformers pipeline, batches of 32", 8),
    "pipeline-sorted": ("the same, sorted by length", 4),
    "setfit": ("SetFit, predict_proba", 4),
    "onnxruntime": ("ONNX Runtime, float32, by length", 4),
    "onnxruntime-int8": ("ONNX Runtime, dynamic int8, by length", 2),
    "openvino": ("OpenVINO, bare loop, by length", 1),
    "openvino-apart": ("the same, a batch for each core", 1),
}
"""What is shown of each, and which part of the excerpts it is given: one in so many."""


def score_own(bundle: str, path: str) -> None:
    """`tl_classifier.scoring.score` from file to file: reading and writing are in the time, too."""
    from tl_classifier import Classifier, Excerpt
    from tl_classifier.scoring import score

    texts = json.loads(Path(path).read_text("utf-8"))
    classifier = Classifier.load(bundle)
    classifier.predict([Excerpt(text) for text in texts[:64]])
    with tempfile.TemporaryDirectory() as name:
        source, output = (Path(name) / file for file in ("texts.jsonl", "codes.jsonl"))
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        began = time.perf_counter()
        score([source], output, classifier)
        seconds = time.perf_counter() - began
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
    print(json.dumps({"texts": len(texts), "seconds": seconds, "result": digest}))


def operations(bundle: Bundle, texts: list[str]) -> float:
    """Floating-point operations of the matrix multiplications for an excerpt, on average, padding not counted."""
    config = json.loads((bundle.path / "config.json").read_text("utf-8"))
    width, inner, layers = (config[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    lengths = np.array([len(w.ids) for of_text in bundle.preprocessor().windows(texts) for w in of_text], dtype=float)
    of_token = layers * 2 * (4 * width**2 + 2 * width * inner)
    of_attention = layers * 4 * width
    return float((lengths * of_token + lengths**2 * of_attention).sum() / len(texts))


def run(python: Path | str, arguments: list[str]) -> dict[str, float]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([str(python), *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder of the environment with peers.txt installed")
    parser.add_argument("--excerpts", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model")
    options = parser.parse_args()
    bundle = Bundle.open(resolve(options.model))
    python = options.peers / "bin" / "python"
    script = str(Path(__file__).with_name("offline_peers.py"))
    texts = list(excerpts(options.excerpts))
    rates: dict[str, list[float]] = {name: [] for name in (OWN, *PEERS, "gemm")}
    results = set()
    with tempfile.TemporaryDirectory() as name:
        paths = {}
        for part in {1, *(part for _, part in PEERS.values())}:
            paths[part] = Path(name) / f"{part}.json"
            paths[part].write_text(json.dumps(texts[: len(texts) // part]), "utf-8")
        for number in range(options.rounds):
            for system in rates:
                if system == OWN:
                    found = run(sys.executable, ["-m", "benchmarks.offline", OWN, str(bundle.path), str(paths[1])])
                    results.add(found["result"])
                else:
                    part = PEERS[system][1] if system in PEERS else 1
                    found = run(python, [script, system, str(bundle.path), str(paths[part])])
                rates[system].append(found["rate"] if system == "gemm" else found["texts"] / found["seconds"])
                print(f"round {number + 1}, {system}: {rates[system][-1]:.4g} a second", file=sys.stderr, flush=True)
    rate = {system: median(values) for system, values in rates.items()}
    print(f"{len(texts)} excerpts, {options.rounds} rounds, {os.cpu_count()} cores; median rates\n")
    print("| system | excerpts a second | this scorer is so many times as fast |")
    print("|---|---:|---:|")
    print(f"| **tl-classifier** | {rate[OWN]:.0f} | 1 |")
    for system, (label, _) in PEERS.items():
        ratio = median(own / other for own, other in zip(rates[OWN], rates[system], strict=True))
        print(f"| {label} | {rate[system]:.0f} | {ratio:.2f} |")
    each = operations(bundle, texts)
    print(
        f"\nAn excerpt costs {each / 1e9:.2f} GFLOP without padding: {rate[OWN] * each / 1e9:.0f} GFLOP/s, "
        f"{rate[OWN] * each / rate['gemm']:.0%} of the "
        f"{rate['gemm'] / 1e9:.0f} GFLOP/s of a bfloat16 matrix multiplication (4096 x 4096 x 4096).\n"
        f"Results of the scorer's runs: {'the same, byte for byte' if len(results) == 1 else 'NOT THE SAME'}."
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [OWN]:
        score_own(*sys.argv[-2:])
    else:
        main()
