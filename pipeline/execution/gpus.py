"""One GPU a stage: it trains and rolls out on one device, and several visible ones end the
libraries' trainers.

The stage sees the first GPU that the runner may use. Nothing is asked of CUDA here: the variable's
text is cut after its first entry, be that an index, the name of a GPU (`GPU-...`) or of a part of
one (`MIG-...`), or nothing at all."""

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
"""The driver's list of the machine's GPUs, one folder each."""


def first_visible(environ: Mapping[str, str]) -> str:
    """What a stage's `CUDA_VISIBLE_DEVICES` is; an empty text and a negative index mean no GPU to
    CUDA and stay."""
    return environ.get(VARIABLE, "0").split(",")[0].strip()


def notice(environ: Mapping[str, str], driver: Path = DRIVER) -> str | None:
    """What to tell a person whose machine or environment offers several GPUs; None where there is
    no choice."""
    first = first_visible(environ)
    if VARIABLE in environ:
        several = "," in environ[VARIABLE] and first and not first.startswith("-")
        found = f"{first} of {VARIABLE}={environ[VARIABLE]}"
    else:
        count = len(list(driver.iterdir())) if driver.is_dir() else 0
        several, found = count > 1, f"the first of {count}"
    return f"every stage uses one GPU, {found}; set {VARIABLE} to use another" if several else None
