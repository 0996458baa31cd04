"""Ways of training: which is chosen, what each starts from and leaves as it was, and what Ctrl-C keeps."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.tiny import make_bundle
from tl_classifier import Classifier, Codebook, CodedExcerpt, Excerpt, TrainingError
from tl_classifier.bundle import Bundle
from tl_classifier.cli import app
from tl_classifier.registry import Registry
from training.adapters import Adapters
from training.bases import find_base
from training.data import label_matrix, to_dataset
from training.fewshot import Contrast, contrast, fit_few, likeness
from training.fitting import plan, start
from training.heads import fit_heads, refit_heads
from training.job import Job
from training.methods import ADAPTERS_FROM, FEW_PER_CODE, FULL_FROM, Asked, Method, choose
from training.model import ExcerptModel
from training.network import Network, open_network, refinable, reopen_network
from training.presets import ADAPTERS, SMALL_ALONE
from training.rehearsal import PER_NEW, rehearsed
from training.run import prepare, train
from training.trainer import duration, fit

SHIPPED = Codebook.default()
MOODS = {
    "schema": 1,
    "name": "moods",
    "version": "1",
    "title": "Moods",
    "dimensions": [
        {"id": "mood", "kind": "exclusive", "optional": False, "codes": [{"id": "glad"}, {"id": "lost"}]},
        {"id": "topic", "codes": [{"id": "transport"}, {"id": "weather"}]},
    ],
}


def moods(count: int, seed: int = 0) -> list[CodedExcerpt]:
    """Coded with `MOODS`; the words say the codes."""
    rng = random.Random(seed)
    found = []
    for i in range(count):
        mood, topics = rng.choice(["glad", "lost"]), [t for t in ("transport", "weather") if rng.random() < 0.4]
        words = ["sure and confident" if mood == "glad" else "lost and ashamed"]
        words += [{"transport": "the train and the bus", "weather": "the weather on monday"}[topic] for topic in topics]
        rng.shuffle(words)
        text = f"i felt {' '.join(words)} {rng.random():.3f}"
        codes: dict[str, tuple[str, ...]] = {"mood": (mood,), "topic": tuple(topics)}
        found.append(CodedExcerpt(Excerpt(text, document=f"d{i % 8}"), codes))
    return found


def write(coded: list[CodedExcerpt], path: Path) -> Path:
    rows = [{"text": one.excerpt.text, "document": one.excerpt.document, "codes": one.codes} for one in coded]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def accuracy(network: Network, coded: list[CodedExcerpt]) -> float:
    """Share of the excerpts whose mood the network tells."""
    features = torch.from_numpy(network.features([one.excerpt for one in coded]))
    with torch.no_grad():
        given_codes = network.model.linear_heads()[0](features).argmax(dim=1).tolist()
    return float(
        np.mean([("glad", "lost")[g] == one.codes["mood"][0] for g, one in zip(given_codes, coded, strict=True)])
    )


def labels(network: Network, coded: list[CodedExcerpt]) -> np.ndarray:
    return label_matrix(coded, network.model.codebook)


@pytest.fixture
def new_network(tiny_encoder: Path, tmp_path: Path) -> Network:
    return open_network(find_base(str(tiny_encoder)), Codebook.from_dict(MOODS), tmp_path, dropout=0.0, seed=0)


# --- the choice ---------------------------------------------------------------------------------------------------


def stages(count: int, each: int) -> list[CodedExcerpt]:
    """`count` excerpts of which `each` carry every stage and every theme."""
    whole = {d.id: d.code_ids for d in SHIPPED.dimensions}
    nothing: dict[str, tuple[str, ...]] = {d.id: () for d in SHIPPED.dimensions}
    return [CodedExcerpt(Excerpt(f"i was {i}"), whole if i < each else nothing) for i in range(count)]


OWN = Codebook.from_dict(MOODS)


@pytest.mark.parametrize(
    ("coded", "codebook", "more", "there", "method", "refines"),
    [
        (stages(30, 5), SHIPPED, False, True, "heads", True),
        (stages(ADAPTERS_FROM - 1, 5), SHIPPED, False, True, "heads", True),
        (stages(ADAPTERS_FROM, 5), SHIPPED, False, True, "adapters", True),
        (stages(FULL_FROM - 1, 5), SHIPPED, False, True, "adapters", True),
        (stages(FULL_FROM, 5), SHIPPED, False, True, "full", False),
        (stages(200, 5), SHIPPED, True, True, "full", False),
        (stages(200, 5), SHIPPED, False, False, "few-shot", False),
        (moods(40), OWN, False, False, "few-shot", False),
        (moods(40), OWN, False, True, "few-shot", False),
        (moods(5 * FEW_PER_CODE), OWN, False, False, "full", False),
    ],
)
def test_the_method_suits_the_data(
    coded: list[CodedExcerpt], codebook: Codebook, more: bool, there: bool, method: Method, refines: bool
) -> None:
    choice = choose("auto", coded, codebook, more=more, refinable=there)
    assert (choice.method, choice.refines) == (method, refines)
    assert choice.why.startswith(f"Method: {method}, because ") and choice.why.endswith(".")


@pytest.mark.parametrize("asked", ["heads", "few-shot", "adapters", "full"])
def test_the_users_word_overrides(asked: Asked) -> None:
    choice = choose(asked, stages(200, 5), SHIPPED, more=False, refinable=True)
    assert choice.method == asked and choice.refines == (asked in ("heads", "adapters"))
    if asked == "adapters":
        with pytest.raises(TrainingError, match="same codebook"):
            choose(asked, moods(40), OWN, more=False, refinable=False)
    if asked != "full":
        with pytest.raises(TrainingError, match="--with-corpus"):
            choose(asked, stages(200, 5), SHIPPED, more=True, refinable=True)


def test_new_excerpts_refine_the_model_that_is_there_with_its_heads(tiny_bundle: Path, tmp_path: Path) -> None:
    words = ("lost", "ashamed", "policy", "train")
    data = [
        CodedExcerpt(
            Excerpt(f"i was {words[i % 4]} {i}", document=f"d{i % 9}"),
            {"stage": ("reintegration",) * (i % 2), "theme": ()},
        )
        for i in range(200)
    ]
    file = write(data, tmp_path / "new.jsonl")
    said: list[str] = []
    job = Job([file], tmp_path / "out", SMALL_ALONE, SHIPPED, method="auto", base=str(tiny_bundle), say=said.append)
    gathered, planned = prepare(job)
    assert planned.choice.method == "adapters"
    assert any(line.startswith("Method: adapters, because ") for line in said)
    assert len(gathered.rehearsed) == PER_NEW * len(gathered.train) and "test" in gathered.held_out
    assert 10 < len(gathered.judged) < 100 < len(gathered.validation)
    network = start(planned, SHIPPED, tmp_path / "work")
    excerpts = [one.excerpt for one in data[:20]]
    features = torch.from_numpy(network.features(excerpts))
    with torch.no_grad():
        logits = torch.cat([head(features) for head in network.model.linear_heads()], dim=1)
    np.testing.assert_allclose(logits, Classifier.load(tiny_bundle).logits(excerpts), atol=0.1)


def test_what_is_refined_is_the_champion_if_it_has_the_codebook(tiny_encoder: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    found = refinable(SHIPPED, None, registry)
    assert found is not None and found.name == "default"
    champion = registry.add(make_bundle(tmp_path / "other", tiny_encoder, seed=5))
    registry.promote(champion.id)
    found = refinable(SHIPPED, None, registry)
    assert found is not None and found.name == champion.id and found.path == champion.path
    assert refinable(OWN, None, registry) is None
    assert refinable(SHIPPED, str(tiny_encoder), registry) is None


def test_a_recipe_knows_what_suits_the_users_data_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    job = Job([], tmp_path / "model", SMALL_ALONE, Codebook.default(), base=str(tiny_encoder), changes={"seed": 7})
    choice = choose("full", [], job.codebook, more=False, refinable=False)
    assert SMALL_ALONE.own is not None and SMALL_ALONE.own != SMALL_ALONE.options
    assert plan(job, choice, None).options == replace(SMALL_ALONE.own, seed=7)
    for more in (replace(job, with_corpus=True), replace(job, real=["cered=train.tsv"])):
        assert plan(more, choice, None).options == replace(SMALL_ALONE.options, seed=7)
    without = replace(job, recipe=replace(SMALL_ALONE, own=None))
    assert plan(without, choice, None).options == replace(SMALL_ALONE.options, seed=7)


def test_rehearsal_is_bounded_and_not_of_the_new() -> None:
    few = rehearsed(stages(10, 1), SHIPPED, seed=1)
    assert len(few) == 10 * PER_NEW
    assert few == rehearsed(stages(10, 1), SHIPPED, seed=1) != rehearsed(stages(10, 1), SHIPPED, seed=2)
    assert not {one.excerpt.text for one in rehearsed(few, SHIPPED, seed=1)} & {one.excerpt.text for one in few}
    assert len(rehearsed(stages(5000, 1), SHIPPED, seed=1)) < 5000


# --- what each does -----------------------------------------------------------------------------------------------


def test_adapters_are_low_in_rank_and_leave_no_trace(tiny_bundle: Path) -> None:
    network = reopen_network(find_base(str(tiny_bundle)), dropout=0.0, seed=0)
    model = network.model
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    ids, mask = torch.randint(5, 60, (4, 12)), torch.ones((4, 12), dtype=torch.long)
    adapters = Adapters(model, rank=2)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("heads.") for name in learning)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    model.eval()
    with torch.no_grad():
        adapted = model.window_logits(ids, mask)
    adapters.merge()
    after = model.encoder.state_dict()
    assert after.keys() == before.keys() and isinstance(model, ExcerptModel)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(model.window_logits(ids, mask), adapted, atol=1e-4, rtol=1e-4)
    for name, value in after.items():
        change = (value - before[name]).float()
        if value.ndim == 2 and "embeddings" not in name:
            assert 0 < int(torch.linalg.matrix_rank(change, atol=1e-4)) <= 2, name
        else:
            assert not change.any(), name


@pytest.mark.training
def test_adapters_learn_and_go_on_after_a_crash(tiny_encoder: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def fitted(epochs: int, *, resume: bool) -> tuple[Network, dict[str, Any]]:
        network = open_network(find_base(str(tiny_encoder)), OWN, tmp_path, dropout=0.0, seed=0)
        learnt, others = (to_dataset(moods(96, seed=s), OWN, network.preprocessor) for s in (1, 2))
        options = replace(ADAPTERS, epochs=epochs, learning_rate=0.02, batch=8, rank=4)
        done = fit(
            network.model, learnt, others, options, tmp_path / "c", pad_id=0, resume=resume, quiet=True, say=said.append
        )
        return network, done

    fitted(2, resume=False)
    said.clear()
    network, done = fitted(10, resume=True)
    assert said[0].startswith("Epoch 3 of at most 10") and done["epochs"] > 3
    assert accuracy(network, moods(100, seed=3)) > 0.9
    assert not any("lora" in name for name, _ in network.model.named_parameters())


@pytest.mark.parametrize("step", ["heads", "few-shot"])
def test_a_few_examples_teach(new_network: Network, step: str) -> None:
    learnt, others = moods(48, seed=1), moods(100, seed=2)
    excerpts = [one.excerpt for one in learnt]
    if step == "heads":
        fit_heads(new_network.model, new_network.features(excerpts), labels(new_network, learnt), firmness=10.0)
    else:
        done = fit_few(new_network, excerpts, labels(new_network, learnt), Contrast(steps=30, learning_rate=1e-3))
        assert done == {"steps": 30, "interrupted": False}
    assert accuracy(new_network, others) > 0.9


def test_each_of_many_examples_is_contrasted_often_enough(new_network: Network) -> None:
    learnt = moods(48, seed=1)
    options = Contrast(steps=2, passes=3, batch=10)
    done = fit_few(new_network, [one.excerpt for one in learnt], labels(new_network, learnt), options)
    assert done["steps"] == 15  # 144 excerpts, ten a batch


def test_heads_that_know_something_move_no_further_than_examples_call_for(new_network: Network) -> None:
    learnt, few = moods(100, seed=1), moods(6, seed=2)
    model = new_network.model
    fit_heads(model, new_network.features([one.excerpt for one in learnt]), labels(new_network, learnt), firmness=10.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features, wanted = new_network.features([one.excerpt for one in few]), labels(new_network, few)
    wanted[:, -1] = np.nan  # a dimension that nobody coded
    refit_heads(model, features, wanted, firmness=0.01)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"heads.mood.weight", "heads.mood.bias"}
    assert accuracy(new_network, learnt) > 0.9
    swapped = [
        CodedExcerpt(o.excerpt, {**o.codes, "mood": ("lost",) if o.codes["mood"] == ("glad",) else ("glad",)})
        for o in learnt
    ]
    refit_heads(model, new_network.features([o.excerpt for o in swapped]), labels(new_network, swapped), firmness=100.0)
    assert accuracy(new_network, learnt) < 0.2  # many that say otherwise are believed


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["glad", "lost", None]), st.sets(st.sampled_from(["transport", "weather"]))),
        min_size=2,
        max_size=8,
    )
)
def test_likeness_is_the_share_of_codes_in_common(rows: list[tuple[str | None, set[str]]]) -> None:
    codes = [{"topic": tuple(topics), **({"mood": (mood,)} if mood else {})} for mood, topics in rows]
    alike = likeness(label_matrix([CodedExcerpt(Excerpt("x"), c) for c in codes], OWN), OWN).numpy()
    for i, (mood, topics) in enumerate(rows):
        for j, (other_mood, other_topics) in enumerate(rows):
            shares = [len(topics & other_topics) / len(topics | other_topics) if topics | other_topics else 0.0]
            if mood and other_mood:
                shares.append(float(mood == other_mood))
            assert alike[i, j] == pytest.approx(np.mean(shares))


def test_contrast_is_less_where_the_like_are_alike() -> None:
    alike = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    near, far = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    assert float(contrast(near, alike, 0.1)) < 0.1 < 1 < float(contrast(far, alike, 0.1))
    assert float(contrast(near, torch.eye(3), 0.1)) == 0.0


def test_waiting_is_told_in_words() -> None:
    assert [duration(s) for s in (0.2, 40, 600, 7500)] == ["1 s", "40 s", "10 min", "2 h 5 min"]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--method", "magic"], ["--preset", "magic"], ["--method", "heads", "--preset", "accurate"]]
)
def test_what_is_no_method_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["train", "coded.csv", *arguments]).exit_code == 2


@pytest.mark.training
def test_ctrl_c_keeps_the_best_so_far(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLC_MODELS", str(tmp_path / "models"))
    Codebook.from_dict(MOODS).save(tmp_path / "moods.yaml")
    data = write(moods(160), tmp_path / "coded.jsonl")
    arguments = ["train", data, "--codebook", tmp_path / "moods.yaml", "-o", tmp_path / "out", "--base", tiny_encoder]
    arguments += ["--method", "full", "--epochs", "500", "--learning-rate", "0.001"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tl_classifier", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Epoch 2 "):
            assert " left" in line
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Stopping; the best so far is kept" in errors and "ended early" in errors
    bundle = Bundle.open(tmp_path / "out")
    assert bundle.manifest["training"]["interrupted"] is True
    assert bundle.manifest["training"]["epochs"] < 100
    assert bundle.manifest["metrics"]["own test"]
    assert set(Classifier.load(tmp_path / "out").predict([Excerpt("i felt lost and ashamed")])[0].codes) == {
        "mood",
        "topic",
    }


@pytest.mark.training
def test_a_model_for_ones_own_codebook_is_made_of_few_and_refined(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLC_MODELS", str(tmp_path / "models"))
    codebook = Codebook.from_dict(MOODS)
    data = write(moods(120), tmp_path / "coded.jsonl")

    def trained(name: str, method: Asked, **changes: float) -> Bundle:
        said: list[str] = []
        job = Job(
            [data],
            tmp_path / name,
            SMALL_ALONE,
            codebook,
            method=method,
            promote="always",
            quiet=True,
            say=said.append,
            base=str(tiny_encoder) if method == "auto" else None,
            changes=changes,
        )
        bundle = Bundle.open(train(job))
        assert sum(line.startswith("Method: ") for line in said) == 1
        return bundle

    first = trained("first", "auto", learning_rate=1e-3)
    assert first.manifest["training"]["method"] == "few-shot"
    assert first.manifest["training"]["interrupted"] is False
    id_of = f"first@{first.version}"
    refined = trained("refined", "adapters", epochs=2)
    assert refined.manifest["training"]["method"] == "adapters"
    assert refined.manifest["parent"] == id_of == refined.manifest["base_model"]["name"]
    assert refined.manifest["data"]["rehearsed"] == 0
    again = trained("again", "heads")
    assert again.manifest["parent"] == f"refined@{refined.version}"
    assert again.manifest["base_model"]["sha256"] == refined.manifest["files"]["model.safetensors"]
    assert again.manifest["files"]["heads.safetensors"] != refined.manifest["files"]["heads.safetensors"]
    with pytest.raises(TrainingError, match="--epochs means nothing to the method heads"):
        trained("wrong", "heads", epochs=2)
    assert not (tmp_path / "wrong").exists()
