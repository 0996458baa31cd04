"""The registry: the models on this machine, and which of them is the champion, the one that is used if none is named.

A folder with

| file | what |
|---|---|
| ``<name>@<version>/`` | a bundle; once it is there it never changes |
| ``champion.json`` | the champion, those that were champion before it, and what happened when |
| ``.lock`` | held while something is added or promoted |
| ``.part-*/`` | a copy that is being made, or was when its process was killed; of no account |

A bundle is copied beside its place and then renamed; ``champion.json`` is replaced as a whole. So a process may be
killed at any moment: there is always a champion that loads. Where nothing was ever promoted, the model that ships with
the program is the champion.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tl_classifier.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle
from tl_classifier.errors import BundleError

SHIPPED = "default"
"""How the model that ships with the program is named, in every version of the program."""

OWN_FIGURES = "this model"
"""Whose figures a bundle's metrics hold, beside those of the baselines: the model's own."""

LOCK_SECONDS = 30.0
"""How long one waits for another process that adds or promotes."""

_POINTER = "champion.json"
_PART = ".part-"
_SCHEMA = 1
_FOLDER_NAME = re.compile(r'(?!\.)[^<>:"/\\|?*@\x00-\x1f\x7f]{1,100}(?<![ .])')


def default_folder() -> Path:
    """The registry's folder: what the environment variable TLC_MODELS names, else one among the user's data."""
    named = os.environ.get("TLC_MODELS")
    if named:
        return Path(named)
    if sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "tl-classifier" / "models"


@dataclass(frozen=True)
class Entry:
    """A model in the registry, or the one that ships.

    Attributes:
        path: The bundle's folder.
        name: Name of the model.
        version: Its version.
        manifest: ``bundle.json``; empty where it cannot be read.
        shipped: Whether it is the one that ships with the program.
        problem: Why it cannot be used, a sentence; None where nothing is known against it. Listing reads the manifest
            alone; that every file is as it was written is seen when it is promoted or loaded.
    """

    path: Path
    name: str
    version: str
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    shipped: bool = False
    problem: str | None = None

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def created(self) -> str:
        """When it was made, ISO 8601 in UTC; empty where unknown."""
        return str(self.manifest.get("created") or "")

    @property
    def base(self) -> str | None:
        """The encoder that its training started from; None where unknown."""
        return _text(_mapping(self.manifest.get("base_model")).get("name"))

    @property
    def parent(self) -> str | None:
        """``name@version`` of the model that its training went on from; None where it was an encoder alone."""
        return _text(self.manifest.get("parent"))

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained on: `description`, `fingerprint`, numbers of excerpts."""
        return _mapping(self.manifest.get("data"))

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures by held-out documents and system; see `macro_f1` for the gist."""
        return _mapping(self.manifest.get("metrics"))

    def macro_f1(self) -> dict[str, dict[str, float]]:
        """Its own macro-F1, by held-out documents and dimension."""
        found: dict[str, dict[str, float]] = {}
        for part, systems in self.metrics.items():
            for dimension, figures in _mapping(_mapping(systems).get(OWN_FIGURES)).items():
                value = _mapping(_mapping(figures).get("macro_f1")).get("value")
                if isinstance(value, int | float):
                    found.setdefault(part, {})[dimension] = float(value)
        return found

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON: where it is, where it comes from, how good it is."""
        return {
            "model": self.id,
            "folder": str(self.path),
            "shipped": self.shipped,
            "created": self.created or None,
            "base": self.base,
            "parent": self.parent,
            "codebook": dict(_mapping(self.manifest.get("codebook"))),
            "data": dict(self.data),
            "macro_f1": self.macro_f1(),
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Event:
    """A change of champion.

    Attributes:
        what: ``promoted`` or ``rolled back``.
        model: ``name@version`` of the champion from then on; None for the one that ships.
        at: When, ISO 8601 in UTC.
        why: A sentence; empty where none was given.
        comparison: The figures that it rests on; empty where none were given.
    """

    what: str
    model: str | None
    at: str
    why: str = ""
    comparison: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            "what": self.what,
            "model": self.model,
            "at": self.at,
            "why": self.why,
            "comparison": dict(self.comparison),
        }


@dataclass(frozen=True)
class _State:
    """What ``champion.json`` says; models are named ``name@version``, None is the one that ships.

    Attributes:
        champion: The champion.
        earlier: What a rollback goes back to, the nearest last.
        history: What happened, the oldest first.
    """

    champion: str | None = None
    earlier: tuple[str | None, ...] = ()
    history: tuple[Event, ...] = ()


class Registry:
    """The models in a folder.

    Args:
        folder: Where; None for `default_folder`. It is made when something is added.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder

    # --- reading ------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """The models that were added, the oldest first; damaged ones too, with what is wrong."""
        if not self.folder.is_dir():
            return []
        found = [
            _kept(path)
            for path in self.folder.iterdir()
            if "@" in path.name and not path.name.startswith(".") and path.is_dir()
        ]
        return sorted(found, key=lambda entry: (entry.created, entry.id))

    def get(self, name: str) -> Entry:
        """A model by ``name@version``, or the newest of a name; ``default`` is the one that ships.

        Raises:
            BundleError: if there is none.
        """
        entries = self.entries()
        for entry in (shipped(), *entries):
            if name == entry.id or (entry.shipped and name == SHIPPED):
                return entry
        of_name = [entry for entry in entries if entry.name == name and entry.problem is None]
        if of_name:
            return of_name[-1]
        there = ", ".join(entry.id for entry in entries[-8:]) or "none yet"
        raise BundleError(
            f"{name!r} is not a model in the registry {self.folder} (there: {there}); "
            "see 'tl-classifier models list', or name a bundle's folder."
        )

    def current(self) -> str | None:
        """``name@version`` of the champion; None where it is the one that ships.

        It reads one small file and looks at no bundle, so that it can be asked often: versions never change, so where
        the answer is the same as before, so is the model.

        Raises:
            BundleError: if ``champion.json`` cannot be read.
        """
        return self._state().champion

    def champion(self) -> Path | None:
        """The folder of the champion's bundle, every file of it checked; None where it is the one that ships.

        Raises:
            BundleError: if the champion is gone or damaged.
        """
        name = self.current()
        if name is None:
            return None
        path = self.folder / name
        try:
            Bundle.open(path)
        except BundleError as error:
            lost = f"is not in the registry {self.folder} any more" if not path.exists() else f"is damaged ({error})"
            raise BundleError(
                f"The champion {name} {lost.replace('.)', ')')}; go back to the one before it with "
                "'tl-classifier models rollback', or name a model with --model."
            ) from error
        return path

    def history(self) -> list[Event]:
        """Every promotion and rollback, the oldest first.

        Raises:
            BundleError: if ``champion.json`` cannot be read.
        """
        return list(self._state().history)

    # --- changing -----------------------------------------------------------------------------------------------

    def add(self, bundle: str | Path) -> Entry:
        """Take a copy of a bundle in, as ``<name>@<version>``.

        A bundle that is there already is left as it is; a copy that was damaged since is put right.

        Raises:
            BundleError: if the bundle is damaged, its name or version cannot be a folder's, another is there under the
                same version, or the registry cannot be written.
        """
        source = Bundle.open(bundle)
        for what, value in (("name", source.name), ("version", source.version)):
            if not _FOLDER_NAME.fullmatch(value):
                raise BundleError(
                    f"{source.path}: the model's {what} cannot be the name of a folder (letters, digits, spaces and "
                    "-_.+ can); train it with another --name."
                )
        target = self.folder / f"{source.name}@{source.version}"
        with self._changing():
            self._sweep()
            if target.exists() and self._is_kept(source, target):
                return _kept(target)
            copy = Path(tempfile.mkdtemp(prefix=_PART, dir=self.folder))
            copy.chmod(0o755)
            for name in (*source.manifest["files"], MANIFEST):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path / name, copy / name)
                _sync(copy / name)
            Bundle.open(copy)
            _sync(copy)
            if target.exists():
                target.replace(self.folder / f"{_PART}damaged")
            copy.replace(target)
            _sync(self.folder)
            self._sweep()
        return _kept(target)

    def promote(self, name: str, *, why: str = "", comparison: Mapping[str, Any] | None = None) -> Entry:
        """Make a model the champion.

        Args:
            name: As for `get`.
            why: A sentence for the history.
            comparison: For the history, the figures that it rests on, as JSON has them.

        Raises:
            BundleError: if there is no such model, it is damaged, or the registry cannot be written.
        """
        with self._changing():
            entry = self.get(name)
            Bundle.open(entry.path)
            model = None if entry.shipped else entry.id
            state = self._state()
            if model != state.champion:
                event = Event("promoted", model, _now(), why, comparison or {})
                self._write(_State(model, (*state.earlier, state.champion), (*state.history, event)))
        return entry

    def rollback(self, *, why: str = "") -> Entry:
        """Make the one before it the champion again; one that has been lost or damaged since is passed over.

        Raises:
            BundleError: if nothing was promoted, or the registry cannot be written.
        """
        with self._changing():
            state = self._state()
            earlier = list(state.earlier)
            while earlier:
                model = earlier.pop()
                entry = shipped() if model is None else _kept(self.folder / model)
                if model is None or _opens(entry.path):
                    event = Event("rolled back", model, _now(), why)
                    self._write(_State(model, tuple(earlier), (*state.history, event)))
                    return entry
        raise BundleError(
            "There is no earlier champion to go back to; 'tl-classifier models promote default' takes the model that "
            "ships with the program."
        )

    # --- files --------------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone in the registry; the lock goes with the process that holds it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise BundleError(
                f"Another process is changing the registry {self.folder}; try again when it is done."
            ) from None
        except OSError as error:
            raise BundleError(
                f"The registry {self.folder} cannot be written ({error.strerror or type(error).__name__}); name "
                "another folder in the environment variable TLC_MODELS."
            ) from error

    def _sweep(self) -> None:
        for leftover in self.folder.glob(f"{_PART}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    @staticmethod
    def _is_kept(source: Bundle, target: Path) -> bool:
        """Whether the bundle is in its place and whole; False where that is damaged and may be put right.

        Raises:
            BundleError: if another bundle has the place.
        """
        there = _kept(target)
        if there.problem is None and there.manifest != source.manifest:
            raise BundleError(
                f"{target}: another bundle has the version {there.id} already, and versions never change; "
                f"train {source.path} anew, which gives it a version of its own, or give it another --name."
            )
        return _opens(target)

    def _state(self) -> _State:
        path = self.folder / _POINTER
        try:
            stored = json.loads(path.read_text("utf-8"))
            if stored["schema"] != _SCHEMA:
                raise ValueError("schema")
            return _State(
                stored["champion"],
                tuple(stored["earlier"]),
                tuple(Event(**event) for event in stored["history"]),
            )
        except FileNotFoundError:
            return _State()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BundleError(
                f"{path} cannot be read ({type(error).__name__}), so it is not known which model is the champion; "
                "delete that file to go back to the model that ships, and promote again."
            ) from error

    def _write(self, state: _State) -> None:
        content = {
            "schema": _SCHEMA,
            "champion": state.champion,
            "earlier": list(state.earlier),
            "history": [event.to_dict() for event in state.history],
        }
        new = self.folder / f"{_POINTER}.new"
        new.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")
        _sync(new)
        new.replace(self.folder / _POINTER)
        _sync(self.folder)


def shipped() -> Entry:
    """The model that ships with the program."""
    return read_entry(DEFAULT_BUNDLE)


def read_entry(path: Path) -> Entry:
    """What is known of the bundle in a folder, in the registry or elsewhere."""
    is_shipped = path == DEFAULT_BUNDLE
    name, _, version = path.name.rpartition("@")
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        found = (str(manifest["name"]), str(manifest["version"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"{path}: {MANIFEST} cannot be read ({type(error).__name__}); add the bundle again."
        return Entry(path, name or SHIPPED, version, {}, is_shipped, problem)
    return Entry(path, *found, manifest, is_shipped)


def resolve(model: str | Path | None, registry: Registry | None = None) -> Path:
    """The folder of the bundle that a user means.

    Args:
        model: A folder; or ``name@version``, or a name, of a model in the registry, of which the newest is meant; or
            ``default`` for the one that ships; None for the champion.
        registry: Where names are looked up; None for the user's.

    Raises:
        BundleError: if there is no such folder or model, or the champion is gone or damaged.
    """
    registry = registry or Registry()
    if model is None:
        return registry.champion() or DEFAULT_BUNDLE
    if Path(model).is_dir():
        return Path(model)
    entry = registry.get(str(model))
    if entry.problem is not None:
        raise BundleError(entry.problem)
    return entry.path


def _kept(path: Path) -> Entry:
    """What is known of a bundle in the registry, whose folder says which it is."""
    entry = read_entry(path)
    if entry.problem is not None or entry.id == path.name:
        return entry
    name, _, version = path.name.rpartition("@")
    problem = f"{path}: the folder's name is not that of the bundle in it ({entry.id}); add that again."
    return Entry(path, name, version, entry.manifest, problem=problem)


def _opens(path: Path) -> bool:
    try:
        Bundle.open(path)
    except BundleError:
        return False
    return True


def _sync(path: Path) -> None:
    """See that a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # which has no such thing for folders
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return str(value) if value else None
