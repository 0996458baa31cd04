"""The registry: what is in it, who is champion, and that a process may be killed at any moment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tl_classifier.bundle import DEFAULT_BUNDLE, Bundle, write_manifest
from tl_classifier.cli import app
from tl_classifier.errors import BundleError
from tl_classifier.registry import Registry, default_folder, resolve

ROOT = Path(__file__).parents[1]


def make_bundle(folder: Path, name: str, version: str, *, words: str = "weights", **manifest: object) -> Path:
    """A bundle as far as files and checksums go."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(f"{name} {version} {words}")
    (folder / "codebook.yaml").write_text("name: x\n")
    write_manifest(folder, {"name": name, "version": version, **manifest})
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return (
        make_bundle(tmp_path / "a", "mine", "2026.01.01-aa", created="2026-01-01T00:00:00Z"),
        make_bundle(tmp_path / "b", "mine", "2026.02.01-bb", created="2026-02-01T00:00:00Z"),
    )


def test_promotions_and_rollbacks_go_the_same_way_back(registry: Registry, two: tuple[Path, Path]) -> None:
    assert registry.champion() is None and registry.entries() == []
    first, second = (registry.add(path) for path in two)
    assert registry.champion() is None
    registry.promote(first.id)
    registry.promote(second.id, why="It is better.", comparison={"difference": 0.1})
    registry.promote(second.id)  # nothing changes
    assert registry.champion() == second.path == registry.folder / "mine@2026.02.01-bb"
    assert Bundle.open(second.path).version == "2026.02.01-bb"
    assert registry.rollback() == first and registry.champion() == first.path
    assert registry.rollback().shipped and registry.champion() is None
    with pytest.raises(BundleError, match="no earlier champion"):
        registry.rollback()
    told = [(event.what, event.model, event.why) for event in registry.history()]
    assert told == [
        ("promoted", first.id, ""),
        ("promoted", second.id, "It is better."),
        ("rolled back", first.id, ""),
        ("rolled back", None, ""),
    ]
    assert registry.history()[1].comparison == {"difference": 0.1}


def test_the_shipped_model_can_be_promoted_and_gone_back_from(registry: Registry, two: tuple[Path, Path]) -> None:
    mine = registry.add(two[0])
    registry.promote(mine.id)
    assert registry.promote("default").shipped
    assert registry.current() is None and resolve(None, registry) == DEFAULT_BUNDLE
    assert registry.rollback() == mine


def test_a_version_never_changes(registry: Registry, two: tuple[Path, Path], tmp_path: Path) -> None:
    added = registry.add(two[0])
    assert registry.add(two[0]) == added and len(registry.entries()) == 1
    other = make_bundle(tmp_path / "other", "mine", "2026.01.01-aa", words="others")
    with pytest.raises(BundleError, match="versions never change"):
        registry.add(other)
    assert "weights" in (added.path / "model.safetensors").read_text()
    (two[0] / "model.safetensors").write_text("changed behind the registry's back")
    assert Bundle.open(added.path)


def test_adding_again_puts_a_damaged_copy_right(registry: Registry, two: tuple[Path, Path]) -> None:
    added = registry.add(two[0])
    (added.path / "model.safetensors").write_text("rot")
    assert registry.add(two[0]) == added
    assert Bundle.open(added.path)
    assert [path.name for path in registry.folder.glob(".part*")] == []


@pytest.mark.parametrize("name", ["../out", "a/b", "a@b", ".hidden", "nul\0", "", "end."])
def test_a_name_that_is_no_folder_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    bundle = make_bundle(tmp_path / "odd", name, "1")
    with pytest.raises(BundleError, match="--name"):
        registry.add(bundle)
    assert registry.entries() == []


def test_names_are_resolved(
    registry: Registry, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (registry.add(path) for path in two)
    assert resolve(two[0], registry) == two[0]
    assert resolve("mine", registry) == second.path
    assert resolve(first.id, registry) == first.path
    assert resolve(None, registry) == resolve("default", registry) == DEFAULT_BUNDLE
    registry.promote(first.id)
    assert resolve(None, registry) == first.path
    with pytest.raises(BundleError, match=r"'nobody' is not a model .* mine@2026.01.01-aa"):
        resolve("nobody", registry)
    monkeypatch.setenv("TLC_MODELS", str(registry.folder))
    assert default_folder() == registry.folder and resolve(None) == first.path


@pytest.mark.parametrize("harm", ["gone", "changed", "no manifest"])
def test_a_champion_that_cannot_be_used_says_how_to_go_back(
    registry: Registry, two: tuple[Path, Path], tmp_path: Path, harm: str
) -> None:
    first, second = (registry.add(path) for path in two)
    registry.promote(first.id)
    registry.promote(second.id)
    if harm == "gone":
        second.path.rename(tmp_path / "elsewhere")
    elif harm == "changed":
        (second.path / "codebook.yaml").write_text("name: y\n")
    else:
        (second.path / "bundle.json").unlink()
    with pytest.raises(BundleError, match=r"models rollback") as caught:
        registry.champion()
    assert second.id in str(caught.value) and "\n" not in str(caught.value)
    assert registry.rollback() == first and registry.champion() == first.path


def test_a_rollback_passes_over_what_is_lost(registry: Registry, two: tuple[Path, Path], tmp_path: Path) -> None:
    third = registry.add(make_bundle(tmp_path / "c", "mine", "3"))
    first, second = (registry.add(path) for path in two)
    for entry in (first, second, third):
        registry.promote(entry.id)
    (second.path / "model.safetensors").unlink()
    assert registry.rollback() == first


def test_a_damaged_bundle_is_neither_added_nor_promoted(registry: Registry, two: tuple[Path, Path]) -> None:
    added = registry.add(two[0])
    for path in (added.path, two[1]):
        (path / "model.safetensors").write_text("rot")
    with pytest.raises(BundleError, match="not as it was written"):
        registry.promote(added.id)
    with pytest.raises(BundleError, match="not as it was written"):
        registry.add(two[1])
    assert registry.champion() is None and registry.history() == []


def test_an_unreadable_pointer_is_named(registry: Registry, two: tuple[Path, Path]) -> None:
    registry.promote(registry.add(two[0]).id)
    (registry.folder / "champion.json").write_text('{"schema": 1, "champion": ')
    with pytest.raises(BundleError, match=r"champion\.json cannot be read"):
        resolve(None, registry)


def test_promotions_at_the_same_time_wait_for_each_other(registry: Registry, two: tuple[Path, Path]) -> None:
    ids = [registry.add(path).id for path in two]
    program = "import sys; from pathlib import Path; from tl_classifier.registry import Registry\n"
    program += "r = Registry(Path(sys.argv[1]))\nfor i in range(12): r.promote(sys.argv[2 + i % 2])"
    process = subprocess.Popen([sys.executable, "-c", program, str(registry.folder), *ids], cwd=ROOT)
    threads = [threading.Thread(target=registry.promote, args=(ids[i % 2],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(60) == 0
    history = [event.model for event in registry.history()]
    assert all(before != after for before, after in pairwise(history))
    assert history[-1] == registry.current()


# --- kill -9 ----------------------------------------------------------------------------------------------------

# One process forks a child for each moment; the child ends itself, without any clean-up, before or after a call that
# changes what is on the disk.
KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from tl_classifier.bundle import DEFAULT_BUNDLE, Bundle
from tl_classifier.registry import Registry

folder, a, b, c = map(Path, sys.argv[1:5])
NAMES = ("replace", "fsync", "mkdir")

def child(action, point):
    pid = os.fork()
    if not pid:
        try:
            if point is not None: dying(point)
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid

def dying(point):
    # even points: before a call; odd ones: after it
    calls = [0]
    def wrapped(function):
        def call(*arguments, **options):
            number = calls[0]; calls[0] += 1
            if point == 2 * number: os._exit(9)
            result = function(*arguments, **options)
            if point == 2 * number + 1: os._exit(9)
            return result
        return call
    for name in NAMES: setattr(os, name, wrapped(getattr(os, name)))
    shutil.copyfile = wrapped(shutil.copyfile)

def fresh():
    shutil.rmtree(folder, ignore_errors=True)
    registry = Registry(folder)
    for path in (a, b): registry.promote(registry.add(path).id)
    return registry

def loads(registry):
    return Bundle.open(registry.champion() or DEFAULT_BUNDLE).version

actions = {
    "add": lambda: Registry(folder).add(c),
    "promote": lambda: (Registry(folder).add(c), Registry(folder).promote("c@1")),
    "rollback": lambda: Registry(folder).rollback(),
}
for name, action in actions.items():
    point = survived = 0
    while survived < 4:  # a call that raises has no moment after it
        registry = fresh()
        code = os.waitstatus_to_exitcode(os.waitpid(child(action, point), 0)[1])
        assert code in (0, 9), (name, point, code)
        champion = loads(registry)
        assert champion in {"add": ["b"], "promote": ["b", "1"], "rollback": ["b", "a"]}[name], (name, point, champion)
        assert all(entry.problem is None for entry in registry.entries())
        if name != "rollback":
            action()
            assert Bundle.open(registry.get("c").path).version == "1"
            assert not list(folder.glob(".part*"))
            assert loads(registry) == ("1" if name == "promote" else "b")
        survived = survived + 1 if code == 0 else 0
        point += 1
    print(name, point - survived)

registry = fresh()
registry.add(c)
rng = random.Random(1)
def restless():
    while True:
        Registry(folder).add(c)  # which puts right what a kill left of the removal below
        for name in ("a@a", "c@1", "b@b"): Registry(folder).promote(name)
        shutil.rmtree(folder / "c@1")
        Registry(folder).rollback()
for _ in range(25):
    pid = child(restless, None)
    time.sleep(rng.uniform(0.002, 0.08))
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert loads(registry) in ("a", "b", "1")
print("killed 25")
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="needs fork")
def test_a_process_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "a", "a", "a")
    b = make_bundle(tmp_path / "b", "b", "b")
    c = make_bundle(tmp_path / "c", "c", "1")
    program = [sys.executable, "-c", KILLED, *map(str, (tmp_path / "models", a, b, c))]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    moments = dict(line.split() for line in done.stdout.splitlines())
    assert int(moments["add"]) > 12 and int(moments["promote"]) > 18 and int(moments["rollback"]) >= 6
    assert moments["killed"] == "25"


# --- the command ------------------------------------------------------------------------------------------------


def run(*arguments: object, registry: Registry) -> Result:
    environment = {"TLC_MODELS": str(registry.folder)}
    return CliRunner().invoke(app, ["models", *map(str, arguments)], env=environment)


def test_the_command_lists_promotes_and_goes_back(registry: Registry, tmp_path: Path) -> None:
    figures = {"own test": {"this model": {"stage": {"macro_f1": {"value": 0.8123, "low": 0.7, "high": 0.9}}}}}
    bundle = make_bundle(
        tmp_path / "new",
        "mine",
        "2026.03.01-cc",
        created="2026-03-01T12:00:00Z",
        base_model={"name": "all-MiniLM", "sha256": "00"},
        parent="tl-minilm@1",
        data={"description": "212 coded excerpts of the user's.", "train": 150},
        metrics=figures,
    )
    promoted = run("promote", bundle, registry=registry)
    assert promoted.exit_code == 0, promoted.output
    assert "mine@2026.03.01-cc" in promoted.stdout
    listed = run("list", registry=registry)
    assert listed.exit_code == 0
    for words in ("mine@2026.03.01-cc", "champion", "0.812", "tl-minilm@1"):
        assert words in listed.stdout, listed.stdout
    data = json.loads(run("list", "--json", registry=registry).stdout)
    assert data["champion"] == "mine@2026.03.01-cc"
    assert data["models"][-1]["macro_f1"] == {"own test": {"stage": 0.8123}}
    assert data["models"][0]["shipped"] is True
    shown = run("show", "mine", registry=registry)
    for words in ("tl-minilm@1", "212 coded excerpts", "2026-03-01", "0.812", "promoted"):
        assert words in shown.stdout, shown.stdout
    back = run("rollback", registry=registry)
    assert back.exit_code == 0 and "ships with the program" in back.stdout
    assert isinstance(run("rollback", registry=registry).exception, BundleError)
    assert isinstance(run("show", "nobody", registry=registry).exception, BundleError)
