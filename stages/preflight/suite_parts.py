"""What the early check says of a suite without prompts, with an empty part (`evals/parts.py`), or
with a limit that is too small.

Ids decide which part a prompt is in, so the few prompts of a small suite may all be in one."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import BadInput
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


def suite_prompts(
    ask: SuiteQuestion, folder: Path
) -> tuple[list[Prompt], tuple[str, str] | None, list[str]]:
    """The prompts of a suite, what ends the run, as message and remedy, and the remarks. `folder`
    is the prompts stage."""
    try:
        prompts = load_suite(ask.suite, folder)
        if ask.dev_limit is not None:
            load_dev(ask.suite, ask.dev_limit, folder)
    except BadInput as error:
        return [], (error.message, error.remedy), []
    return prompts, *_empty_parts(ask, prompts)


def _empty_parts(
    ask: SuiteQuestion, prompts: Sequence[Prompt]
) -> tuple[tuple[str, str] | None, list[str]]:
    """What ends the run, as message and remedy, and the remarks about parts without a prompt."""
    suite, problem, notes = ask.suite.name, None, []
    for part in PARTS:
        if in_part(prompts, part) or (part == DEV and not ask.suite.dev):
            continue
        empty = f"{suite} has {len(prompts)} prompts, and none of them is in its {part} part"
        if part == DEV and ask.steers:
            problem = f"{empty}, whose score decides", REMEDY
        else:
            notes.append(f"{ask.place}: {empty}, which gets no score; {REMEDY}")
    return problem, notes
