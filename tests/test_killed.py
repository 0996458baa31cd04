"""kill -9 at any moment of a training, a promotion or a rollback: there is a champion, and it loads.

The processes are forked from one that has loaded torch already, so that a kill mostly hits work and not imports.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.test_methods import MOODS, moods, write
from tests.tiny import make_bundle
from tl_classifier import Classifier, Codebook, Excerpt
from tl_classifier.bundle import Bundle
from tl_classifier.errors import BundleError
from tl_classifier.registry import Registry, resolve
from training.job import Job
from training.presets import SMALL_ALONE

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)


def change_champions(models: Path, bundles: list[Path], begun: Path) -> None:
    """Add, promote and roll back without end."""
    registry = Registry(models)
    begun.touch()
    while True:
        for bundle in bundles:
            registry.promote(registry.add(bundle).id)
        with suppress(BundleError):  # everything rolled back already
            registry.rollback()
            registry.rollback()


def train_and_promote(models: Path, data: Path, encoder: Path, output: Path, begun: Path) -> None:
    """Train a model for a codebook of one's own, and promote it."""
    import torch

    from training.run import train

    torch.set_num_threads(1)
    begun.touch()
    changes = {"epochs": 2, "learning_rate": 0.001}
    codebook = Codebook.from_dict(MOODS)
    train(
        Job(
            [data],
            output,
            SMALL_ALONE,
            codebook,
            base=str(encoder),
            changes=changes,
            promote="always",
            registry=models,
            overwrite=True,
            quiet=True,
        )
    )


def killed(task: Callable[..., None], *arguments: object, after: float, begun: Path) -> int | None:
    """Run `task` in a process that is killed so many seconds after it has begun; its exit code if it had ended then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_killed", "training.run"])
    begun.unlink(missing_ok=True)
    process = context.Process(target=task, args=(*arguments, begun))
    process.start()
    while process.is_alive() and not begun.exists():
        time.sleep(0.005)
    process.join(after)
    ended = process.exitcode
    process.kill()
    process.join()
    return ended


def champion_loads(models: Path) -> str:
    """The champion's name, having coded with it; and every model that is kept is whole."""
    registry = Registry(models)
    for entry in registry.entries():
        Bundle.open(entry.path)
        assert entry.problem is None
    champion = Classifier.load(resolve(None, registry))
    assert champion.predict([Excerpt("i felt lost")])[0].codes
    return champion.model


def test_killed_while_champions_change(tiny_encoder: Path, tmp_path: Path) -> None:
    models, rng = tmp_path / "models", random.Random(1)
    bundles = [make_bundle(tmp_path / f"b{seed}", tiny_encoder, seed=seed) for seed in (1, 2)]
    registry = Registry(models)
    registry.promote(registry.add(bundles[0]).id)
    seen = set()
    for _ in range(12):
        ended = killed(change_champions, models, bundles, after=rng.uniform(0, 0.15), begun=tmp_path / "begun")
        assert ended is None
        seen.add(champion_loads(models))
        assert len(registry.history()) > 0
    assert seen <= {"tiny@0.1", "tiny@0.2", Classifier.load().model}
    # Nobody is locked out by those who were killed, and what they left behind is swept away.
    registry.promote(registry.add(bundles[1]).id)
    assert champion_loads(models) == "tiny@0.2"
    assert not list(models.glob(".part-*"))


@pytest.mark.training
def test_killed_while_training(tiny_encoder: Path, tmp_path: Path) -> None:
    models, output, rng = tmp_path / "models", tmp_path / "own", random.Random(2)
    data = write(moods(60), tmp_path / "coded.jsonl")
    arguments = (models, data, tiny_encoder, output)
    started = time.monotonic()
    assert killed(train_and_promote, *arguments, after=120, begun=tmp_path / "begun") == 0
    whole = time.monotonic() - started
    first = champion_loads(models)
    assert first.startswith("own@")
    for _ in range(6):
        killed(train_and_promote, *arguments, after=rng.uniform(0, whole), begun=tmp_path / "begun")
        assert champion_loads(models).startswith("own@")
        if output.exists():
            Bundle.open(output)
    # Nothing that was left behind is in the way, and the same model that is made again is the one that is there.
    assert killed(train_and_promote, *arguments, after=120, begun=tmp_path / "begun") == 0
    assert champion_loads(models) == first
