"""The model card: written from what was found, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tl_classifier.codebook import Codebook
from tl_classifier.excerpts import CodedExcerpt, Prediction
from training.difficulties import Outcome
from training.evaluation import MODEL, REVIEW_PRECISION, Metrics, is_part, whole
from training.findings import Findings
from training.real import REAL_VALIDATION
from training.report import (
    ACCEPTED_HEADER,
    CODE_HEADER,
    EVIDENCE_HEADER,
    OVERVIEW_HEADER,
    accepted_rows,
    code_rows,
    evidence_rows,
    evidence_summary,
    markdown,
    overview_rows,
    parts_header,
    parts_rows,
    reliability_header,
    reliability_rows,
)
from training.slices import ORDINARY
from training.tried import Tried, tried_table

FITTED = {
    "full": "all weights",
    "adapters": "low-rank adapters of the encoder, added to its weights afterwards, and the heads",
    "few-shot": "the encoder by contrast between excerpts, then the heads",
    "heads": "the heads alone",
}
"""What each method of `training.methods` fits."""

EXAMPLES = 2
"""Mistakes of a kind that are shown."""


def model_card(manifest: Mapping[str, Any], codebook: Codebook, findings: Findings, tried: Sequence[Tried] = ()) -> str:
    """The card in Markdown.

    Args:
        manifest: The bundle's.
        codebook: What it codes with.
        findings: What was found of the model.
        tried: Every model that was tried on the way to it; none leaves their table out.
    """
    with_corpus = manifest["data"]["with_corpus"]
    parts = [
        f"# {manifest['name']} {manifest['version']}\n",
        f"Codes excerpts of interview transcripts with the codebook *{codebook.title}* ({codebook.version}): "
        + "; ".join(
            f"`{d.id}` ({len(d.codes)} codes, {'one' if d.exclusive else 'any number'} an excerpt)"
            for d in codebook.dimensions
        )
        + ".\n",
        *_how_it_was_made(manifest),
        *_how_well_it_codes(findings.figures),
        *_evidence(findings),
        *_where_it_fails(findings.difficult),
        *(("## Every model that was tried\n", tried_table(tried)) if tried else ()),
        "## Limits\n",
        LIMITS_SYNTHETIC if with_corpus else LIMITS_OWN,
    ]
    return "\n".join(parts)


def _how_it_was_made(manifest: Mapping[str, Any]) -> list[str]:
    training, data = manifest["training"], manifest["data"]
    return [
        "## How it was made\n",
        f"- Base model: {manifest.get('parent') or manifest['base_model']['name']} (weights sha256 "
        f"`{manifest['base_model']['sha256']}`); mean pooling over tokens, one linear head a dimension.\n"
        + _teacher(manifest)
        + _averaged(manifest)
        + f"- Data: {data['description']} Fingerprint `{data['fingerprint']}`; {data['train']} excerpts to train on"
        + (f" and {data['rehearsed']} of the shipped corpus, so as not to forget it" if data.get("rehearsed") else "")
        + f", {data['validation']} to stop, calibrate and set thresholds with.\n"
        f"- Training: {FITTED[training.get('method', 'full')]}, "
        + (f"{training['epochs']} epochs (best of them kept), " if "epochs" in training else "")
        + f"seed {training['options']['seed']}; all options stand in `bundle.json`.\n"
        "- Weights are in half precision; the figures below are those of the files as they lie here, run on "
        f"{manifest['software']['device']}.\n",
    ]


def _how_well_it_codes(figures: Mapping[str, Mapping[str, Metrics]]) -> list[str]:
    parts = [
        "## How well it codes\n",
        "Against the coders' codes, on documents that it was neither trained nor calibrated on"
        + (f" (on `{REAL_VALIDATION}` it was calibrated, too, but not trained)" if REAL_VALIDATION in figures else "")
        + ". Intervals: 95%, bootstrap over documents. *Calibration error*: mean distance between probability and "
        "frequency, over all decisions. *Coded where none*: excerpts without a code that were given one.\n",
    ]
    if any(map(is_part, figures)):
        parts.append(f"{PARTS}\n")
    for name, systems in figures.items():
        if not is_part(name):
            own_parts = {part: some for part, some in figures.items() if is_part(part) and whole(part) == name}
            parts += _on(name, systems, own_parts)
    return parts


def _on(name: str, systems: Mapping[str, Metrics], own_parts: Mapping[str, Mapping[str, Metrics]]) -> list[str]:
    own = systems[MODEL]
    some = next(iter(own.values()))
    parts = [
        f"### `{name}`: {some.excerpts} excerpts in {some.documents} documents\n",
        markdown(OVERVIEW_HEADER, overview_rows(systems)),
    ]
    if own_parts:
        parts += ["Parts of these documents:\n", markdown(parts_header(own_parts), parts_rows(own_parts))]
    if ordinary := own_parts.get(f"{name}, {ORDINARY}"):
        given = "; ".join(
            f"{m.given_rate:.1%} are given a {dimension} where {m.carrying_rate:.1%} carry one, and of those that "
            f"carry none {m.none_rate:.1%}"
            for dimension, m in ordinary[MODEL].items()
        )
        count = next(iter(ordinary[MODEL].values())).excerpts
        parts.append(f"Of the {count} turns of ordinary talk {given}.\n")
    for dimension in own:
        parts += [f"Code by code, `{dimension}`:\n", markdown(CODE_HEADER, code_rows(own, dimension))]
    accepted = [(dimension, rows) for dimension in own if (rows := accepted_rows(own, dimension))]
    if accepted:
        parts.append(
            f"Accepted unseen, if a precision of {REVIEW_PRECISION:g} is asked for; the rest is for review. "
            "*Precision*: share of what is accepted that is right. *Coverage*: share of the excerpts carrying the code "
            "for which it is accepted.\n"
        )
    for dimension, rows in accepted:
        parts.append(markdown((f"`{dimension}`", *ACCEPTED_HEADER[1:]), rows))
    return [
        *parts,
        "Reliability: all decisions (excerpt and code) by their probability, and how often the coders gave the code.\n",
        markdown(reliability_header(own), reliability_rows(own)),
    ]


def _evidence(findings: Findings) -> list[str]:
    parts = []
    for name, found in findings.evidence.items():
        parts += [
            f"On `{name}`: each code that is given, to an excerpt with several sentences or clauses.\n",
            markdown(EVIDENCE_HEADER, evidence_rows(found)),
            f"{evidence_summary(found)}\n",
        ]
    return ["## Evidence\n", *parts] if parts else []


def _where_it_fails(difficult: Sequence[Outcome]) -> list[str]:
    if not difficult:
        return []
    dimensions = list(difficult[0].right)
    rows = [
        (
            outcome.kind,
            str(outcome.excerpts),
            *(str(outcome.right[d]) for d in dimensions),
            str(outcome.excerpts - len(outcome.wrong)),
        )
        for outcome in difficult
    ]
    totals = [sum(int(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    return [
        "## Where it fails\n",
        "Excerpts of kinds that are known to be difficult, invented and coded for this project (by a large language "
        "model) and used for nothing else. *Right*: exactly the coder's codes. They are chosen to be hard: figures on "
        "them say where to look, not how often it errs.\n",
        markdown(
            ("kind", "excerpts", *(f"`{d}` right" for d in dimensions), "all right"),
            [*rows, ("all", *map(str, totals))],
        ),
        "What it gets wrong, by example, with its probabilities:\n",
        "".join(
            f"- *{outcome.kind}*\n" + "".join(_mistake(coded, found) for coded, found in outcome.wrong[:EXAMPLES])
            for outcome in difficult
            if outcome.wrong
        ),
    ]


def _mistake(coded: CodedExcerpt, found: Prediction) -> str:
    def named(dimension: str, codes: Sequence[str]) -> str:
        return ", ".join(f"{code} ({found.probabilities[dimension][code]:.2f})" for code in codes) or "none"

    differences = [
        f"{dimension}: it says {named(dimension, found.codes[dimension])}, a coder {named(dimension, codes)}"
        for dimension, codes in coded.codes.items()
        if found.codes[dimension] != codes
    ]
    question = f'asked "{coded.excerpt.context}": ' if coded.excerpt.context else ""
    return f'  - {question}"{coded.excerpt.text}" {"; ".join(differences)}.\n'


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


def _averaged(manifest: Mapping[str, Any]) -> str:
    if not manifest.get("averaged"):
        return ""
    return (
        f"- Its weights are the mean of those of {' and '.join(manifest['averaged'])}; data, teacher and training are "
        "given for the last of them.\n"
    )


PARTS = (
    "Parts: *transcripts* are whole invented interviews, *quotations* stand-alone excerpts written to be like the ones "
    "that articles print, *ordinary talk* turns of interviews about something else. *Without cue words*: excerpts with "
    "a code that TF-IDF misses; *cue words without the code*: excerpts to which it gives a code that they do not "
    "carry; each dimension by itself. *Given a code*: share of the excerpts that the model gives one; *carry one*: by "
    "the coders' word."
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
