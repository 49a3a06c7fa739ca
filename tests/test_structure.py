"""The house: which package may import which, how long files and functions are, where kinds are
named, what never gets into the repository."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import structure
from benchmarks.structure import LONGEST_FILE, arrows, circles, imports, modules
from common import artifacts
from pipeline.checkout import PACKAGES

ROOT = Path(__file__).parents[1]
ARROWS = {
    "pipeline": {"stages", "report", "evals", "common"},
    "report": {"evals", "corner_cases", "curriculum", "prompts", "common"},
    "stages": {
        *("training", "curriculum", "judges", "evals", "rewards", "rollouts", "prompts"),
        *("corner_cases", "models", "common"),
    },
    "training": {"rollouts", "models", "common"},
    "judges": {"rewards", "rollouts", "prompts", "models", "common"},
    "curriculum": {"common"},
    "rollouts": {"models", "common"},
    "models": {"common"},
    "rewards": {"prompts", "common"},
    "prompts": {"common"},
    "corner_cases": {"rewards", "prompts", "common"},
    "evals": {"corner_cases", "rewards", "rollouts", "prompts", "models", "common"},
    "common": set[str](),
}
"""The design's table: which package may import which."""
WINGS = {
    "pipeline/cli": {"execution", "planning", "recipe", "store", "checkout"},
    "pipeline/execution": {"planning", "recipe", "store", "tracking", "checkout"},
    "pipeline/tracking": {"store", "checkout"},
    "pipeline/planning": {"recipe", "store"},
    "pipeline/recipe": {"store"},
    "pipeline/store": {"checkout"},
}
"""The wings of `pipeline/`, from the top down."""
PIPELINE_ALSO = {
    "models.config",
    "models.context",
    "models.memory",
    "models.packaged",
    "models.presets",
    "models.sizes",
    "prompts.config",
    "prompts.function_part",
    "prompts.judge_parts",
    "prompts.part",
    "prompts.parts",
    "prompts.shards",
    "rewards.function.source",
    "rollouts.config",
    "rollouts.heads",
    "rollouts.talk",
}
"""Light modules that the recipe's schema and its plan are made of."""
HEAVY = {"torch", "trl", "vllm", "transformers", "peft", "accelerate", "datasets"}
LIGHT = (
    "config.py",
    "declaration.py",
    "questions.py",
    "registry.py",
    "settings.py",
)
"""Modules that everything imports, and that load nothing heavy."""
MODULES = modules()


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
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(PACKAGES)


def test_packages_import_only_what_the_design_allows():
    wrong = []
    for module in MODULES:
        package = module.package
        for name in imports(module.tree):
            light = package == "pipeline" and any(
                name == m or name.startswith(f"{m}.") for m in PIPELINE_ALSO
            )
            if top(name) in ARROWS and top(name) not in {package, *ARROWS[package]} and not light:
                wrong.append(f"{module.path}: {name}")
    # `from models.config import X` shows up as the module too, which is allowed; anything else is
    # not.
    assert wrong == []


def test_the_wings_of_the_pipeline_import_downwards_only():
    edges = arrows(MODULES, "wing")
    for wing, allowed in WINGS.items():
        inside = {name.removeprefix("pipeline/") for name in edges[wing] if "/" in name}
        assert inside <= allowed, wing


@pytest.mark.parametrize("group", ["package", "wing", "name"])
def test_no_imports_go_in_a_circle(group):
    assert circles(arrows(MODULES, group)) == []


def test_only_rollouts_imports_vllm():
    users = {module.package for module in MODULES if "vllm" in map(top, imports(module.tree))}
    assert users == {"rollouts"}


def test_the_curriculum_knows_nothing_of_torch_or_trl():
    mine = [module for module in MODULES if module.package == "curriculum"]
    used = {top(name) for module in mine for name in imports(module.tree)}
    allowed = {"common", "curriculum", "matplotlib", "numpy", "pydantic", *sys.stdlib_module_names}
    assert used and used <= allowed


def test_no_stage_imports_another_stage():
    kinds = structure.kinds()
    assert {"judge_filter", "sft", "rl", "dpo"} <= kinds
    for module in MODULES:
        if module.package == "stages" and module.path.name != "registry.py":
            reached = {
                name.split(".")[1]
                for name in imports(module.tree)
                if top(name) == "stages" and name.split(".")[1:2]
            }
            own = {module.path.parts[1]} if module.path.parts[1] in kinds else set()
            assert reached & kinds <= own, module.path


def test_a_kind_of_stage_is_named_in_its_folder_and_the_registry_alone():
    assert structure.named_kinds(MODULES) == []


def test_an_artifact_is_called_by_its_file_name_in_one_place_alone():
    entries = [one for one in vars(artifacts).values() if isinstance(one, artifacts.Artifact)]
    files = {one.file for one in entries} - {artifacts.CHECKPOINT.file}  # also an input's name
    assert len(files) > 15
    for module in MODULES:
        strings = {n.value for n in ast.walk(module.tree) if isinstance(n, ast.Constant)}
        if module.path.name != "artifacts.py":
            assert not files & strings, module.path


@pytest.mark.parametrize("package", PACKAGES)
def test_what_everything_imports_loads_nothing_heavy(package):
    for module in MODULES:
        light = module.path.name in LIGHT or module.package == "pipeline"
        light |= module.path.parts == ("stages", "training.py")
        if module.package == package and light:
            assert not HEAVY & set(map(top, imports(module.tree))), module.path


def test_the_command_line_loads_neither_torch_nor_vllm():
    code = "import sys, pipeline.cli.commands, pipeline.recipe.load; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not HEAVY & set(done.stdout.split())


def test_files_and_functions_are_short_and_modules_say_what_they_are():
    assert structure.long_files(MODULES) == []
    assert structure.long_functions(MODULES) == []
    for module in MODULES:
        empty_marker = module.path.name == "__init__.py" and not module.tree.body
        assert empty_marker or ast.get_docstring(module.tree), f"{module.path}: no docstring"
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        assert path.read_text().count("\n") <= LONGEST_FILE, path
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


def test_test_files_have_different_names():
    # pytest imports them by their names alone.
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
