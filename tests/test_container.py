"""The container's files: what they refer to exists, and they ask for little."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from serving.settings import Settings, load_settings
from tests.serving_helpers import FakeClassifier, running
from tl_classifier.cli import app

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with what follows them, comments and line ends gone."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line.strip())]


def of(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [rest for found, rest in stage if found == name]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert list(composed["services"]) == ["server"]
    server: dict[str, Any] = composed["services"]["server"]
    return server


def environment() -> dict[str, str]:
    return dict(item.partition("=")[::2] for line in of("ENV", stages()[-1]) for item in shlex.split(line))  # type: ignore[misc]


def is_sent(path: str) -> bool:
    """Whether a file in the project's folder is sent to the build: the last line that fits it decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = Path(path).parts
        whole = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(fnmatch(one, pattern) or fnmatch(Path(one).name, pattern.removeprefix("**/")) for one in whole):
            sent = line.startswith("!")
    return sent


def test_what_is_copied_exists_and_is_sent_and_nothing_else_is() -> None:
    build, final = stages()
    copied = [source for line in of("COPY", build) for source in line.split()[:-1]]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert is_sent(source), source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(copied), "a package is missing from the image"
    declared = (ROOT / "pyproject.toml").read_text()
    for name in re.findall(r'"(LICENSE|NOTICE|README\.md)"', declared):
        assert name in copied
    assert is_sent("serving/static/page.js") and is_sent("tl_classifier/models/default/bundle.json")
    for private in (".git/config", ".venv/bin/python", "interviews/P1.txt", "tests/test_server.py", ".env", "models/x"):
        assert not is_sent(private), private
    assert not is_sent("serving/__pycache__/app.cpython-312.pyc")
    (line,) = of("COPY", final)
    assert line == "--from=build /opt/tl-classifier /opt/tl-classifier"
    assert all(re.fullmatch(r"python:3\.(11|12|13)-slim( AS build)?", of("FROM", stage)[0]) for stage in stages())


def test_the_image_installs_the_base_alone_and_runs_as_nobody_in_particular() -> None:
    build, final = stages()
    (install,) = (line for line in of("RUN", build) if "pip install" in line)
    assert "pip install . " in install and "[" not in install
    assert of("USER", final) == ["10001:10001"]
    assert "--uid 10001" in of("RUN", final)[0]
    assert of("ENTRYPOINT", final) == ['["tl-classifier"]']
    assert 'tl-classifier = "tl_classifier.cli:main"' in (ROOT / "pyproject.toml").read_text()
    (command,) = of("CMD", final)
    assert CliRunner().invoke(app, [*json.loads(command), "--help"]).exit_code == 0


def test_its_settings_are_the_servers(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    variables = environment() | dict.fromkeys(service["environment"], "")
    named = {name.removeprefix("TLC_").lower() for name in variables if name.startswith("TLC_")}
    assert named <= set(Settings.model_fields)
    values = environment() | service["environment"]
    values["TLC_API_KEY_HASHES"] = "a" * 64
    values["TLC_ADMIN_KEY_HASHES"] = ""
    for name, value in values.items():
        if name.startswith("TLC_"):
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.host, settings.port, str(settings.models)) == ("0.0.0.0", 8000, "/models")
    assert "127.0.0.1" in settings.hosts, "the health check asks for 127.0.0.1"
    assert float(service["stop_grace_period"].removesuffix("s")) > settings.request_seconds + settings.drain_seconds + 5
    assert service["environment"]["TLC_API_KEY_HASHES"].startswith("${TLC_API_KEY_HASHES:?")
    assert of("EXPOSE", stages()[-1]) == [str(settings.port)]


def test_the_composed_container_can_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(service)
    (volume,) = service["volumes"]
    assert (volume["target"], volume["read_only"]) == ("/models", True)
    assert of("VOLUME", stages()[-1]) == ["/models"]
    assert (ROOT / service["build"] / "Dockerfile").is_file()
    assert CliRunner().invoke(app, [*service["command"], "--help"]).exit_code == 0


def test_the_health_check_tells_whether_the_server_takes_work(service: dict[str, Any]) -> None:
    (line,) = of("HEALTHCHECK", stages()[-1])
    command = json.loads(line.partition("CMD ")[2])
    assert service["healthcheck"]["test"] == ["CMD", *command]
    assert command[:2] == ["python", "-m"]
    assert find_spec(command[2]) is not None

    def check(port: int) -> int:
        variables = {"TLC_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
        return subprocess.run([sys.executable, *command[1:]], env=variables, cwd=ROOT, check=False).returncode

    with running(FakeClassifier()) as server:
        assert check(server.port) == 0
        server.service.draining = True
        assert check(server.port) == 1
    assert check(server.port) == 1
