"""Gives each stage one GPU. A stage trains and generates on one device, and the libraries' trainers
fail when they see several.

A stage sees the first GPU that the runner may use. CUDA is not queried: the variable's text is cut
after its first entry, which may be an index, the name of a GPU (`GPU-...`) or of a part of one
(`MIG-...`), or empty."""

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Contains one folder per GPU of the machine."""


def first_visible(environ: Mapping[str, str]) -> str:
    """The value of a stage's `CUDA_VISIBLE_DEVICES`. An empty text or a negative index, which mean
    no GPU to CUDA, is kept."""
    return environ.get(VARIABLE, "0").split(",")[0].strip()


def notice(environ: Mapping[str, str], driver: Path = DRIVER) -> str | None:
    """The message for a user whose machine or environment offers several GPUs; None if there is no
    choice."""
    first = first_visible(environ)
    if VARIABLE in environ:
        several = "," in environ[VARIABLE] and first and not first.startswith("-")
        chosen = f"{first} of {VARIABLE}={environ[VARIABLE]}"
    else:
        count = len(list(driver.iterdir())) if driver.is_dir() else 0
        several, chosen = count > 1, f"the first of {count}"
    return f"every stage uses one GPU, {chosen}; set {VARIABLE} to use another" if several else None
