"""The shape of the code in figures: arrows between packages and wings, circles, long files and
functions, and places that name a kind of stage outside its own folder.

`python -m benchmarks.structure [ROOT]` prints them as JSON; `tests/test_structure.py` holds the
limits."""

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_LINE = 300, 45, 100
SECTIONS = {"base", "prompts", "evaluate", "preflight"}
"""Kinds that are also the names of sections, fields and folders: of these only comparisons with a
`kind` count."""
LOSSES = {("stages/dpo", "sft")}
"""What TRL calls a term of its DPO loss."""


@dataclass(frozen=True)
class Module:
    """A Python file of the project."""

    path: Path
    """Relative to the root."""
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    @property
    def package(self) -> str:
        return self.path.parts[0]

    @property
    def wing(self) -> str:
        """The package, or in `pipeline/` the folder below it."""
        parts = self.path.with_suffix("").parts
        return "/".join(parts[:2]) if parts[0] == "pipeline" else parts[0]


def modules(root: Path = ROOT) -> list[Module]:
    """Every module of every package of the project."""
    packages = sorted(path.parent for path in root.glob("*/__init__.py"))
    paths = [path for package in packages for path in sorted(package.rglob("*.py"))]
    return [Module(p.relative_to(root), p.read_text(), ast.parse(p.read_text())) for p in paths]


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it; `from a import b` counts as `a` and as
    `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(found: list[Module], group: str) -> dict[str, set[str]]:
    """From each package, wing or module to those that it imports (`group` is the attribute)."""
    by_name = {module.name: module for module in found}
    edges: dict[str, set[str]] = defaultdict(set)
    for module in found:
        here = str(getattr(module, group))
        edges[here]
        for name in imports(module.tree):
            if name in by_name and getattr(by_name[name], group) != here:
                edges[here].add(str(getattr(by_name[name], group)))
    return dict(edges)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan 1972, strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            components.append(sorted(stack[place:]))
            del stack[place:]

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return [component for component in components if len(component) > 1]


def long_files(found: list[Module], limit: int = LONGEST_FILE) -> list[str]:
    return [f"{m.path}: {n}" for m in found if (n := m.text.count("\n")) > limit]


def long_functions(found: list[Module], limit: int = LONGEST_FUNCTION) -> list[str]:
    """Functions of more lines than the limit, decorators and docstring included."""
    long = []
    for module in found:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > limit:
                    long.append(f"{module.path}:{node.lineno} {node.name}: {lines}")
    return long


def kinds(root: Path = ROOT) -> set[str]:
    """The kinds of stage: the folders of `stages/` that have a `run.py`."""
    return {path.parent.name for path in (root / "stages").glob("*/run.py")}


def named_kinds(found: list[Module], root: Path = ROOT) -> list[str]:
    """Strings that are the name of a kind, outside that kind's folder and the registry. Examples
    in a field's documentation are ids of stages."""
    known, places = kinds(root), []
    for module in found:
        folder = "/".join(module.path.parts[:2])
        examples = {id(node) for node in _in_examples(module.tree)}
        compared = {id(node) for node in _compared_with_kind(module.tree)}
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Constant) or node.value not in known:
                continue
            own = folder == f"stages/{node.value}" or module.path.name == "registry.py"
            a_section = node.value in SECTIONS and id(node) not in compared
            another = id(node) in examples or (folder, node.value) in LOSSES
            if not own and not a_section and not another:
                places.append(f"{module.path}:{node.lineno} {node.value!r}")
    return places


def _in_examples(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "examples":
            yield from ast.walk(node.value)


def _compared_with_kind(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            if any(isinstance(part, ast.Attribute) and part.attr == "kind" for part in parts):
                for part in parts:
                    yield from ast.walk(part)


def figures(root: Path = ROOT) -> dict[str, object]:
    """Everything, as a JSON document."""
    found = modules(root)
    packages, wings = arrows(found, "package"), arrows(found, "wing")
    inside = {
        wing: {other for other in others if other.startswith("pipeline/")}
        for wing, others in wings.items()
        if wing.startswith("pipeline/")
    }
    flat = arrows([module for module in found if module.package == "pipeline"], "name")
    places = named_kinds(found, root)
    return {
        "modules": len(found),
        "lines": sum(module.text.count("\n") for module in found),
        "arrows_between_packages": sum(map(len, packages.values())),
        "arrows_between_wings_of_pipeline": sum(map(len, inside.values())),
        "arrows_between_modules_of_pipeline": sum(map(len, flat.values())),
        "circles_between_packages": circles(packages),
        "circles_between_wings": circles(wings),
        "circles_between_modules": circles(arrows(found, "name")),
        "files_over_300_lines": long_files(found),
        "functions_over_45_lines": long_functions(found),
        "places_that_name_a_kind": len(places),
        "modules_that_name_a_kind": len({place.split(":")[0] for place in places}),
    }


if __name__ == "__main__":
    print(json.dumps(figures(Path(sys.argv[1]) if sys.argv[1:] else ROOT), indent=2))
