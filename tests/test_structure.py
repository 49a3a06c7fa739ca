"""The house: which package may import which, how long files are, what never gets into the
repository."""

import ast
import re
import sys
from pathlib import Path

import pytest

from pipeline.checkout import PACKAGES

ROOT = Path(__file__).parents[1]
ARROWS = {
    "pipeline": {"stages", "evals", "common"},
    "stages": {
        "curriculum",
        "judges",
        "evals",
        "rewards",
        "rollouts",
        "prompts",
        "models",
        "common",
    },
    "judges": {"rewards", "rollouts", "prompts", "common"},
    "curriculum": {"common"},
    "rollouts": {"models", "common"},
    "models": {"common"},
    "rewards": {"prompts", "common"},
    "prompts": {"common"},
    "evals": {"rewards", "rollouts", "prompts", "models", "common"},
    "common": set(),
}
"""The design's table: who may import whom."""
PIPELINE_ALSO = {
    "models.config",
    "models.context",
    "models.packaged",
    "models.presets",
    "models.sizes",
    "prompts.config",
    "prompts.shards",
    "rewards.verifiers",
    "rollouts.config",
    "rollouts.heads",
}
"""Light modules that the recipe's schema and its plan are made of."""
HEAVY = {"torch", "trl", "vllm", "transformers", "peft", "accelerate", "datasets"}
LONGEST = 300


def modules():
    """Every Python file of ours as (path from the root, parsed source)."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def imports(tree):
    """Dotted names that a module imports, wherever in it; `from a import b` counts as `a` and as
    `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(name):
    return name.split(".")[0]


def text_files():
    """Every file that a person reads or runs, without environments and caches."""
    skipped = {".git", ".venv", "runs", "__pycache__", "shared"}
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = {p for p in parts if p.startswith(".") and p != ".ci"} | {
            p for p in parts if p.endswith(".egg-info")
        }
        if path.is_file() and not skipped & set(parts) and not hidden:
            yield path


def test_every_package_is_in_the_table_and_no_other_is_there():
    assert set(ARROWS) == set(PACKAGES)
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found == set(PACKAGES)


def test_packages_import_only_what_the_design_allows():
    wrong = []
    for path, tree in modules():
        package = path.parts[0]
        for name in imports(tree):
            light = package == "pipeline" and any(
                name == m or name.startswith(f"{m}.") for m in PIPELINE_ALSO
            )
            if top(name) in ARROWS and top(name) not in {package, *ARROWS[package]} and not light:
                wrong.append(f"{path}: {name}")
    # `from models.config import X` shows up as the module too, which is allowed; anything else is
    # not.
    assert wrong == []


def test_only_rollouts_imports_vllm():
    users = {path.parts[0] for path, tree in modules() if "vllm" in map(top, imports(tree))}
    assert users == {"rollouts"}


def test_the_curriculum_knows_nothing_of_torch_or_trl():
    used = {
        top(name)
        for path, tree in modules()
        if path.parts[0] == "curriculum"
        for name in imports(tree)
    }
    assert used and used <= {
        "common",
        "curriculum",
        "matplotlib",
        "numpy",
        "pydantic",
        *sys.stdlib_module_names,
    }


def test_no_stage_imports_another_stage():
    kinds = {path.name for path in (ROOT / "stages").iterdir() if (path / "run.py").exists()}
    assert {"judge_filter", "sft", "rl", "dpo"} <= kinds
    for path, tree in modules():
        if path.parts[0] == "stages" and path.parts[1] in kinds:
            others = {
                name for name in imports(tree) if top(name) == "stages" and name.split(".")[1:2]
            }
            reached = {name.split(".")[1] for name in others} & kinds
            assert reached <= {path.parts[1]}, f"{path}: {reached}"


def test_shared_stage_modules_import_no_stage():
    kinds = {path.name for path in (ROOT / "stages").iterdir() if path.is_dir()}
    for path, tree in modules():
        if path.parts[0] == "stages" and len(path.parts) == 2:
            assert not {
                name
                for name in imports(tree)
                if top(name) == "stages" and name.split(".")[1] in kinds
            }, path


@pytest.mark.parametrize("package", PACKAGES)
def test_configs_load_nothing_heavy(package):
    for path, tree in modules():
        light = (
            path.name in ("config.py", "reference.py", "training.py") or path.parts[0] == "pipeline"
        )
        if path.parts[0] == package and light:
            assert not HEAVY & set(map(top, imports(tree))), path


def test_files_are_short_and_modules_say_what_they_are():
    for path, tree in modules():
        lines = (ROOT / path).read_text().count("\n")
        assert lines <= LONGEST, f"{path}: {lines} lines"
        empty_marker = path.name == "__init__.py" and not tree.body
        assert empty_marker or ast.get_docstring(tree), f"{path}: no docstring"
    for path in (ROOT / "tests").glob("*.py"):
        assert path.read_text().count("\n") <= LONGEST, path
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_path_of_a_machine_is_written_down():
    # Put together here, so that this file does not find itself.
    places = [
        rf"(?<![\w.]){re.escape('/' + word)}/\w"
        for word in ("home", "root", "work", "Users", "tmp")
    ]
    pattern = re.compile("|".join(places))
    for path in text_files():
        found = pattern.search(path.read_text(errors="ignore"))
        assert found is None, f"{path}: {found.group()}"
