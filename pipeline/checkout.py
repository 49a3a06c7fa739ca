"""Proof that our generically named packages are all from one place, and none is another
distribution's.

Imports nothing of ours, because anything of ours may be what is shadowed.
"""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""What this very file belongs to: a checkout, or the folder into which a wheel was installed."""
PACKAGES = (
    "common",
    "curriculum",
    "evals",
    "judges",
    "models",
    "pipeline",
    "prompts",
    "rewards",
    "rollouts",
    "stages",
    "training",
)


def shadowed(root: Path = ROOT) -> list[str]:
    """One line a package of ours that Python would import from elsewhere than `root`, or not at
    all."""
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
