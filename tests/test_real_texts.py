"""Real texts that the project has codes for: joined to a copy of them, which here is invented."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from tl_classifier import Codebook, CodebookError, InputError
from training.real import CODES, read_real


def ids(*names: str) -> list[str]:
    """Ids of the passages in some files of codes; in all that are trained on, if none is named."""
    found = []
    for name in names or ("cered_codes.tsv", *(f"cered_codes_{n}.tsv" for n in (2, 3, 4))):
        with (CODES / name).open(encoding="utf-8", newline="") as file:
            found += [row["idx"] for row in csv.DictReader(file, delimiter="\t")]
    return found


def write_copy(path: Path, numbers: list[str]) -> Path:
    """A file like CEReD's: quoted cells, line breaks and tabs in them, more rows than are coded."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["idx", "context", "sentence", "y", "confidence", "y_requires_context"])
        for number in [*numbers, "999999"]:
            writer.writerow(
                [number, f'I said "{number}",\n  and\tthen   I\u2028left.', "I left.", "Other", "[5, 5]", ""]
            )
    return path


def test_codes_and_passages_are_joined(tmp_path: Path) -> None:
    path = write_copy(tmp_path / "train.tsv", ids()[::-1])
    found = read_real(f"cered={path}", Codebook.default())
    held_out = json.loads((CODES / "splits.json").read_text("utf-8"))["real-validation"]
    assert sorted(int(one.excerpt.id or "") for one in found.validation) == sorted(held_out)
    everything = found.train + found.validation
    assert sorted(one.excerpt.id or "" for one in everything) == sorted(ids())
    assert len(ids()) == len(set(ids()))  # each was coded by one
    first, second = (set(ids(name)) for name in ("cered_codes.tsv", "cered_codes_2.tsv"))
    assert len(first) == 1163 and 0.3 < len(found.validation) / len(first) < 0.36
    assert {one.coder for one in found.validation} == {"CEReD passages, first coder"}
    assert {one.excerpt.id for one in found.train if one.coder == "CEReD passages, second coder"} == second
    one = next(one for one in everything if one.excerpt.id == "4557")
    assert one.excerpt.text == 'I said "4557", and then I left.'
    assert one.codes == {"stage": ("disorienting_dilemma", "self_examination"), "theme": ()}
    given = Counter(code for one in found.validation for code in one.codes["stage"])
    assert set(given) == {*Codebook.default().dimension("stage").code_ids} - {"reintegration"}  # nobody is there yet


def test_what_is_not_a_copy_is_refused(tmp_path: Path) -> None:
    codebook = Codebook.default()
    lacking = write_copy(tmp_path / "lacking.tsv", ids()[7:])
    other = tmp_path / "other.tsv"
    other.write_text("a\tb\n1\t2\n")
    for specification, words in (
        (f"cered={lacking}", f"7 of the {len(ids()):,} coded passages are not in it"),
        (f"cered={other}", "not a file of CEReD"),
        (f"cered={tmp_path / 'none.tsv'}", "none.tsv"),
        (str(lacking), "NAME=PATH"),
        (f"others={lacking}", "one of cered"),
    ):
        with pytest.raises(InputError, match=words):
            read_real(specification, codebook)


def test_a_codebook_without_the_codes_is_refused(tmp_path: Path) -> None:
    path = write_copy(tmp_path / "train.tsv", ids())
    codebook = tmp_path / "codebook.yaml"
    codebook.write_text(
        "schema: 1\nname: other\ntitle: Other\nversion: '1'\ndimensions:\n  - id: stage\n    name: Stage\n    codes:\n"
        "      - {id: planning_action, name: Plan, definition: Plans.}\n"
        "      - {id: other, name: Other, definition: Other.}\n",
        encoding="utf-8",
    )
    with pytest.raises(CodebookError, match=r"lacks the code '[a-z_]+' of 'stage'"):
        read_real(f"cered={path}", Codebook.load(codebook))
