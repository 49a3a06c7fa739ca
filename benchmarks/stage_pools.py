"""The pools of prompts of `make bench-stages` and `make bench-curriculum`, and the policy that they
are trained from.

`benchmarks/recipes/stages.yaml` has prompts that its start solves, that are medium, and that are
out of its reach. A pool mixes them so that most prompts teach nothing. The held-out prompts are
the same for all pools, half of them medium: what is asked of a policy is what it can learn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.layouts import run
from benchmarks.start import make_start, write_demonstrations
from common.artifacts import CHECKPOINT, HELD_OUT, PROMPTS
from common.quotas import apportion
from common.seeds import derive
from evals.parts import FINAL, in_part
from prompts.schema import Prompt, read_prompts

RECIPE = ROOT / "benchmarks" / "recipes" / "stages.yaml"
WORK = ROOT / "runs" / "bench-stages"
SEED = 11
DEMONSTRATED = (
    *((4000, 0.0), (1000, 0.0)),
    *((5000, 0.15), (4000, 0.05)),
    *((400, 0.0), (400, 0.0)),
)
"""Of each source of the recipe: demonstrations that the start learns from, and the share of their
letters and digits that are drawn at random."""
SOLVED, MEDIUM, OUT_OF_REACH = "solved", "medium", "out of reach"
MIXES: Mapping[str, Mapping[str, int]] = {
    "mostly_solved": {SOLVED: 80, MEDIUM: 15, OUT_OF_REACH: 5},
    "mostly_out_of_reach": {SOLVED: 5, MEDIUM: 15, OUT_OF_REACH: 80},
}
"""The pools by name, in prompts of a hundred."""
ASKED: Mapping[str, int] = {SOLVED: 25, MEDIUM: 50, OUT_OF_REACH: 25}
"""The held-out prompts, in prompts of a hundred."""
MANY_TERMS = 3


def make() -> None:
    """Make prompts and start, unless they are there."""
    run(RECIPE, WORK / "prompts", ["--until", "prompts"])
    shown = WORK / "demonstrations.jsonl"
    if not shown.is_file():
        write_demonstrations(RECIPE, shown, DEMONSTRATED)
    make_start(RECIPE, WORK / "start", SEED, shown)


def start() -> Path:
    """The start's stage."""
    return WORK / "start" / "bench-stages" / "03-sft"


def checkpoint() -> Path:
    return CHECKPOINT.path(start())


def difficulty(prompt: Prompt) -> str:
    """How hard a prompt is for the start."""
    family = prompt.metadata["family"]
    if family in ("gcd", "word_sequence_reversal"):
        return SOLVED
    terms = prompt.metadata["item"].get("num_terms", 0)
    hard = family == "letter_jumble" or (family == "chain_sum" and terms >= MANY_TERMS)
    return OUT_OF_REACH if hard else MEDIUM


def pool(mix: str, size: int) -> list[Prompt]:
    """Training prompts of a pool."""
    return mixed(read_prompts(PROMPTS.path(prompts())), MIXES[mix], size)


def held_out(size: int) -> list[Prompt]:
    """Held-out prompts of the final part, which steers nothing."""
    return mixed(in_part(read_prompts(HELD_OUT.path(prompts())), FINAL), ASKED, size)


def mixed(source: Sequence[Prompt], mix: Mapping[str, int], size: int) -> list[Prompt]:
    """Prompts of a mixture: always the same of one size; ValueError if there are too few."""
    places = apportion(size, mix)
    chosen: list[Prompt] = []
    for name, count in places.items():
        those = [prompt for prompt in source if difficulty(prompt) == name]
        if len(those) < count:
            raise ValueError(f"{count} prompts {name} are wanted, {len(those)} are there")
        chosen += sorted(those, key=lambda one: derive(0, "pool", one.id))[:count]
    return sorted(chosen, key=lambda one: derive(0, "order", one.id))


def prompts() -> Path:
    """The prompts' stage."""
    return WORK / "prompts" / "bench-stages" / "01-prompts"
