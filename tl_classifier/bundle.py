"""A model on disk: a folder of files that cannot run code, with a checksum for each.

| file | what |
|---|---|
| ``config.json``, ``model.safetensors``, ``tokenizer*.json`` | the encoder in Hugging Face layout |
| ``graph.xml``, ``constants.bin`` | encoder and heads as one OpenVINO graph (its weights: see `read_graph`) |
| ``heads.safetensors`` | the heads, for training on |
| ``codebook.yaml``, ``preprocessing.json``, ``decoding.json`` | what surrounds the network |
| ``README.md`` | the model card |
| ``bundle.json`` | name, version, lineage, metrics, and the sha256 of every other file |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tl_classifier.codebook import Codebook
from tl_classifier.decoding import Decoding
from tl_classifier.errors import BundleError, CodebookError
from tl_classifier.preprocessing import Preprocessor

SCHEMA_VERSION = 1
"""Version of the layout of a bundle."""

DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"
"""The bundle that ships with the program."""

MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and unchanged.

    Attributes:
        path: Its folder.
        manifest: ``bundle.json``: `schema`, `name`, `version`, `created`, `base_model`, `data`, `training`,
            `metrics`, `software`, `files`.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path | None = None) -> Bundle:
        """Open a bundle and check every file.

        Args:
            path: Its folder; None for the one that ships with the program.

        Raises:
            BundleError: if it is no bundle, was made for another version of this program, or a file is missing,
                unknown or changed.
        """
        folder = DEFAULT_BUNDLE if path is None else Path(path)
        manifest = _read_manifest(folder)
        for name, expected in manifest["files"].items():
            file = folder / name
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise BundleError(f"{folder}: {MANIFEST} names a file outside the bundle, so the bundle is not used.")
            if not file.is_file():
                raise BundleError(f"{folder}: the file {name} is missing; copy the whole bundle again.")
            if sha256(file) != expected:
                raise BundleError(
                    f"{folder}: the file {name} is not as it was written (its sha256 differs from {MANIFEST}); "
                    "copy the bundle again or train it anew."
                )
        return cls(folder, manifest)

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """Version of the model: date and fingerprint."""
        return str(self.manifest["version"])

    @cached_property
    def codebook(self) -> Codebook:
        """The codebook that the model codes with.

        Raises:
            BundleError: if it cannot be read.
        """
        try:
            return Codebook.load(self.path / "codebook.yaml")
        except CodebookError as error:
            raise BundleError(f"{self.path}: the bundle's codebook cannot be used: {error}") from error

    @cached_property
    def decoding(self) -> Decoding:
        """Calibration and thresholds.

        Raises:
            BundleError: if they do not fit the codebook.
        """
        try:
            return Decoding.from_dict(self._json("decoding.json"), self.codebook)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.path}: decoding.json does not fit the codebook ({error}).") from error

    def preprocessor(self) -> Preprocessor:
        """A new preprocessor, with the settings that the model was trained with.

        Raises:
            BundleError: if the settings are not this program's.
        """
        try:
            return Preprocessor.from_file(self.path / "tokenizer.json", self._json("preprocessing.json"))
        except (KeyError, ValueError) as error:
            raise BundleError(
                f"{self.path}: the bundle was made with other preprocessing than this program's ({error}); "
                "train it anew with this version."
            ) from error

    def _json(self, name: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.path / name).read_text("utf-8"))
        return data


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{folder}: this is not a bundle (there is no {MANIFEST}); name a folder that 'tl-classifier train' wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder}: {MANIFEST} cannot be read ({type(error).__name__}); copy it again.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BundleError(f"{folder}: {MANIFEST} does not list the bundle's files; copy the bundle again.")
    if manifest.get("schema") != SCHEMA_VERSION:
        raise BundleError(
            f"{folder}: the bundle has layout version {manifest.get('schema')}, this program reads {SCHEMA_VERSION}; "
            "train it anew with this version."
        )
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with the checksums of all other files in `folder`: the last step of making a bundle."""
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    temporary = folder / f"{MANIFEST}.new"
    temporary.write_text(json.dumps({"schema": SCHEMA_VERSION, **manifest, "files": files}, indent=2) + "\n", "utf-8")
    temporary.replace(folder / MANIFEST)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
