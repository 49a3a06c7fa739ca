"""Checks that our packages, whose names are generic, are not shadowed by another distribution's.

Imports no package of ours, because any of them may be the shadowed one.
"""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout that this file is in, or the folder into which a wheel was installed."""
PACKAGES = (
    "common",
    "corner_cases",
    "curriculum",
    "evals",
    "judges",
    "models",
    "pipeline",
    "prompts",
    "report",
    "rewards",
    "rollouts",
    "stages",
    "training",
)


def shadowed(root: Path = ROOT) -> list[str]:
    """One line per package that Python would not import from `root`, or not import at all."""
    lines = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        places = (
            list(spec.submodule_search_locations or [spec.origin or "a single module"])
            if spec
            else []
        )
        if not places:
            lines.append(f"package {package!r} of {root} is not importable")
        elif Path(places[0]).resolve() != root / package:
            lines.append(f"package {package!r} is taken from {places[0]}, not from {root}")
    return lines
