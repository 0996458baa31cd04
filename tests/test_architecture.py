"""Who may import whom, and what a base install must do without."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "datasets", "sklearn", "scipy", "accelerate", "safetensors", "peft"}


def imports(path: Path, *, lazy: bool) -> set[str]:
    """Top-level packages and modules that a file imports; with `lazy`, inside functions too."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_imports_go_in_one_direction() -> None:
    for path in files("tl_classifier"):
        assert not roots(imports(path, lazy=False)) & {"training", "serving"}, path
        if "commands" not in path.parts:
            assert not roots(imports(path, lazy=True)) & {"training", "serving"}, path
    for path in files("training"):
        assert "serving" not in roots(imports(path, lazy=True)), path
    for path in files("serving"):
        assert "training" not in roots(imports(path, lazy=True)), path


def test_only_training_needs_the_training_packages() -> None:
    for path in [*files("tl_classifier"), *files("serving")]:
        if path.relative_to(ROOT) != Path("tl_classifier/runtimes/torch.py"):  # imported where there is a GPU
            assert not roots(imports(path, lazy=True)) & HEAVY, path


def test_text_is_cleaned_and_tokenised_in_one_place_only() -> None:
    for package in ("tl_classifier", "training", "serving"):
        for path in files(package):
            if path.name != "preprocessing.py":
                assert "tokenizers" not in roots(imports(path, lazy=True)), path


@pytest.mark.parametrize("module", ["tl_classifier", "tl_classifier.cli", "serving.app"])
def test_importing_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{'torch', 'transformers', 'openvino'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
