"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
_models = tempfile.TemporaryDirectory(prefix="tlc-models-")  # the user's own models are no business of tests
os.environ["TLC_MODELS"] = _models.name

# Machines are noisy: a slow example is no failure.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder in Hugging Face layout."""
    from tests.tiny import make_encoder

    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A bundle with a tiny, randomly initialised model for the shipped codebook."""
    from tests.tiny import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny", tiny_encoder)
