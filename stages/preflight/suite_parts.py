"""What the early check asks of a suite: its prompts, and whether a part has none (`evals/parts.py`).

Ids decide which part a prompt is in, so the few prompts of a small suite may all be in one."""

from collections.abc import Sequence
from pathlib import Path

from evals.parts import DEV, PARTS, in_part
from evals.suites import load_dev, load_suite
from prompts.schema import Prompt
from stages.questions import SuiteQuestion

NOTHING_HELD_OUT = (
    "held_out is asked, but no prompt is held out: every capability of every source has only one"
    " prompt",
    "give a source more prompts or a larger `held_out`, or leave the suite out",
)
REMEDY = "give a source more prompts or a larger `held_out`"


def suite_prompts(ask: SuiteQuestion, folder: Path) -> list[Prompt]:
    """The prompts of a suite; `folder` is the prompts stage. BadInput where one that is asked
    cannot be read, or its limit is too small."""
    if ask.dev_limit is not None:
        load_dev(ask.suite, ask.dev_limit, folder)
    return load_suite(ask.suite, folder)


def empty_parts(
    ask: SuiteQuestion, prompts: Sequence[Prompt]
) -> tuple[tuple[str, str] | None, list[str]]:
    """What ends the run, as message and remedy, and the remarks about parts without a prompt."""
    suite, problem, notes = ask.suite.name, None, []
    for part in PARTS:
        if in_part(prompts, part):
            continue
        empty = f"{suite} has {len(prompts)} prompts, and none of them is in its {part} part"
        if part == DEV and ask.steers:
            problem = f"{empty}, whose score decides", REMEDY
        else:
            notes.append(f"{ask.place}: {empty}, which gets no score; {REMEDY}")
    return problem, notes
