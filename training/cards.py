"""The model card: written from the figures, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tl_classifier.codebook import Codebook
from training.evaluation import Metrics
from training.report import CODE_HEADER, OVERVIEW_HEADER, code_rows, markdown, overview_rows

MODEL = "this model"
"""Name of the model's own rows, beside the baselines'."""


def model_card(
    manifest: Mapping[str, Any],
    codebook: Codebook,
    slices: Mapping[str, Mapping[str, Metrics]],
) -> str:
    """The card in Markdown.

    Args:
        manifest: The bundle's.
        codebook: What it codes with.
        slices: Name of the documents to system to figures; the system `MODEL` is in each.
    """
    training = manifest["training"]
    data = manifest["data"]
    parts = [
        f"# {manifest['name']} {manifest['version']}\n",
        f"Codes excerpts of interview transcripts with the codebook *{codebook.title}* ({codebook.version}): "
        + "; ".join(
            f"`{d.id}` ({len(d.codes)} codes, {'one' if d.exclusive else 'any number'} an excerpt)"
            for d in codebook.dimensions
        )
        + ".\n",
        "## How it was made\n",
        f"- Base model: {manifest['base_model']['name']} (weights sha256 `{manifest['base_model']['sha256']}`); mean "
        "pooling over tokens, one linear head a dimension.\n"
        + _teacher(manifest)
        + f"- Data: {data['description']} Fingerprint `{data['fingerprint']}`; {data['train']} excerpts to train on, "
        f"{data['validation']} to stop, calibrate and set thresholds with.\n"
        f"- Training: {training['epochs']} epochs (best of them kept), seed {training['options']['seed']}; all options "
        "stand in `bundle.json`.\n"
        "- Weights are in half precision; the figures below are those of the files as they lie here, run on "
        f"{manifest['software']['device']}.\n",
        "## How well it codes\n",
        "Against the coders' codes, on documents that it was neither trained nor calibrated on. Intervals: 95%, "
        "bootstrap over documents. *Calibration error*: mean distance between probability and frequency, over all "
        "decisions. *Coded where none*: excerpts without a code that were given one.\n",
    ]
    for name, systems in slices.items():
        some = next(iter(systems[MODEL].values()))
        parts.append(f"### `{name}`: {some.excerpts} excerpts in {some.documents} documents\n")
        parts.append(markdown(OVERVIEW_HEADER, overview_rows(systems)))
        if ", " in name:  # a part of the documents above
            continue
        for dimension in systems[MODEL]:
            parts.append(f"Code by code, `{dimension}`:\n")
            parts.append(markdown(CODE_HEADER, code_rows(systems[MODEL], dimension)))
    parts.append("## Limits\n")
    parts.append(LIMITS_SYNTHETIC if data["with_corpus"] else LIMITS_OWN)
    return "\n".join(parts)


def _teacher(manifest: Mapping[str, Any]) -> str:
    teacher = manifest["teacher"]
    if manifest["taught_by"] is not None:
        return (
            f"- Teacher: {manifest['taught_by']}, a larger model that was trained on the same data; half of what this "
            "model was taught are its probabilities, which are shipped with the corpus.\n"
        )
    if teacher is None:
        return ""
    return (
        f"- Teacher: {teacher['name']} (weights sha256 `{teacher['sha256']}`), fine-tuned first on the same data; half "
        "of what this model was taught are the teacher's probabilities.\n"
    )


LIMITS_OWN = """\
- It has learnt from the data named above and codes other speech less well; check it on a sample of your own coding.
- It is a coder among coders: read its codings as proposals, and report its version with them.
"""

LIMITS_SYNTHETIC = """\
- The shipped corpus is **synthetic**: interviews and excerpts invented and coded for this project by a language model.
  Real interviews are harder; expect clearly lower agreement, and codes given too freely to ordinary talk. Code a
  sample of your own transcripts and run `tl-classifier evaluate` on it before relying on the codes.
- The interviews are in English.
- Agreement between the corpus's coders overstates what people would reach, since both were language models; figures
  against their codes do too.
- It is a coder among coders: read its codings as proposals, and report its version with them.
"""
