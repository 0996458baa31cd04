"""The learning curve: what more coded data would buy, and when that cannot be told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.test_methods import MOODS, moods, write
from tl_classifier import Codebook, TrainingError
from tl_classifier.cli import app
from training.bases import find_base
from training.curve import DRAWS, SHARES, Curve, Point, as_much_again, learning_curve
from training.gathering import Data
from training.network import open_network

OWN = Codebook.from_dict(MOODS)


@settings(max_examples=50)
@given(st.floats(0.05, 0.9), st.floats(0.05, 0.8), st.floats(20, 5000))
def test_a_power_law_is_prolonged_exactly(missed: float, power: float, largest: float) -> None:
    sizes = largest * np.array(SHARES)
    f1 = 1 - missed * (sizes / largest) ** -power
    if f1.min() < 0.001:
        return
    assert as_much_again(sizes, f1) == pytest.approx(missed - missed * 2**-power, rel=0.01)


def test_what_is_said_of_a_curve_is_what_it_shows() -> None:
    points = tuple(Point(share, int(400 * share), 0.5 + share / 10, 0.4, 0.7) for share in SHARES)
    rising, flat = Curve(points, (0.04, 0.02, 0.06), 90), Curve(points, (0.01, -0.02, 0.03), 90)
    assert (
        "Another 400 coded excerpts would raise macro-F1 by about 0.040 (95% interval 0.020 to 0.060)"
        in rising.sentence
    )
    assert "cannot be told" in flat.sentence and "-0.020 to +0.030" in flat.sentence
    assert json.loads(json.dumps(rising.to_dict()))["as_much_again"] == {"value": 0.04, "low": 0.02, "high": 0.06}


def data_of(train: int) -> Data:
    return Data(moods(train, seed=1), moods(60, seed=2), np.ones(60), {"own test": moods(120, seed=3)}, "Synthetic.")


def test_a_curve_of_data_that_teaches(tiny_encoder: Path, tmp_path: Path) -> None:
    network = open_network(find_base(str(tiny_encoder)), OWN, tmp_path, dropout=0.0, seed=0)
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    curve = learning_curve(network, data_of(80), refines=False)
    assert [point.excerpts for point in curve.points] == [20, 40, 60, 80] and curve.held_out == 120
    assert all(point.low <= point.f1 <= point.high for point in curve.points)
    assert curve.points[-1].f1 > 0.6 and curve.points[-1].f1 > curve.points[0].f1
    assert curve == learning_curve(network, data_of(80), refines=False)
    assert all(bool((value == before[name]).all()) for name, value in network.model.state_dict().items())


def test_where_nothing_is_learnt_nothing_is_promised(tiny_encoder: Path, tmp_path: Path) -> None:
    network = open_network(find_base(str(tiny_encoder)), OWN, tmp_path, dropout=0.0, seed=0)
    data = data_of(80)
    promised = 0
    for seed in range(9, 14):
        codes = [one.codes for one in moods(80, seed=seed)]  # others' codes
        shuffled = [type(one)(one.excerpt, other) for one, other in zip(data.train, codes, strict=True)]
        curve = learning_curve(network, Data(shuffled, data.validation, data.weights, data.held_out, ""), refines=False)
        promised += "cannot be told" not in curve.sentence
    assert promised <= 1
    with pytest.raises(TrainingError, match="needs at least 4 documents"):
        learning_curve(network, Data([], data.validation, data.weights, data.held_out, ""), refines=False)
    assert DRAWS > 1


def test_the_command_prints_it_and_writes_nothing(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLC_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    OWN.save(tmp_path / "moods.yaml")
    data = write(moods(160), tmp_path / "coded.jsonl")
    arguments = ["train", str(data), "--codebook", "moods.yaml", "--base", str(tiny_encoder), "--curve"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "100%" in done.stdout and "macro-F1" in done.stdout and "coded excerpts would" in done.stdout
    assert "ashamed" not in done.output
    assert {path.name for path in tmp_path.iterdir()} <= {"moods.yaml", "coded.jsonl", "models"}
