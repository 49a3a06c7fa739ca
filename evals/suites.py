"""The prompts of each suite: the same, in the same order, for every checkpoint and every run.

`evals/parts.py` divides them into a dev part and a final part."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import get_args

from common.artifacts import HELD_OUT
from common.errors import BadInput
from common.seeds import derive
from corner_cases.names import CaseName
from corner_cases.sets import load_set
from evals.config import SuiteConfig
from evals.haystack import needle_prompts
from evals.parts import DEV, FINAL, in_part, key_of, part_of
from evals.suite_file import (
    BUILT_IN,
    CORNER_CASES,
    HELD_OUT_SUITE,
    known_suites,
    left_out_suites,
    located,
    packaged_suite,
    read_suite,
    suite_path,
)
from prompts.config import SuiteRows
from prompts.schema import Prompt, read_prompts, with_system
from prompts.sources import load_source

SAMPLE_SEED = 20250601
"""Independent of the run: with a `limit`, all checkpoints of all runs get equal prompts."""
LIKELIHOOD = "_likelihood"
"""How the name of a packaged suite ends that has the questions of another one."""


def load_suite(config: SuiteConfig, prompts_folder: Path | None) -> list[Prompt]:
    """The prompts of a suite that are asked. `held_out` is read from `prompts_folder`, the finished
    prompts stage.

    Raises BadInput if a suite's data is missing, or its limit is too small.
    """
    if config.name == CORNER_CASES:
        prompts = _corner_cases(config.cases or get_args(CaseName))
    elif config.name != HELD_OUT_SUITE:
        prompts = file_prompts(suite_path(config.name, config.file))
    elif prompts_folder is None:
        raise BadInput(
            "the suite held_out needs a run with a finished prompts stage",
            "name a run, or another suite",
        )
    else:
        prompts = read_prompts(HELD_OUT.path(prompts_folder))
    if config.system is not None:
        prompts = [
            replace(prompt, messages=with_system(prompt.messages, config.system))
            for prompt in prompts
        ]
    asked = prompts if config.dev else in_part(prompts, FINAL)
    return sample(asked, config.name, config.limit)


def _corner_cases(cases: Sequence[CaseName]) -> list[Prompt]:
    return [prompt for case in cases for prompt in load_set(case)]


def file_prompts(path: Path) -> list[Prompt]:
    """The prompts of a suite that is a file. Their ids begin with the suite's name; a question that
    the suite asks twice counts twice. Raises BadInput if the file or its data is wrong or
    missing."""
    name, suite = path.stem, read_suite(path)
    if suite.needle is not None:
        return needle_prompts(name, suite.needle, located(suite.needle.text, path))
    prompts = []
    seen = Counter[str]()
    for rows in suite.prompts:
        source = located(rows, path)
        for prompt in load_source(source):
            id = f"{name}:{prompt.id.removeprefix(f'{source.name}:')}"
            seen[id] += 1
            again = f"#{seen[id]}" if seen[id] > 1 else ""
            group = _group(rows, prompt)
            prompts.append(replace(prompt, id=id + again, source=name, group=group))
    return prompts


def _group(rows: SuiteRows, prompt: Prompt) -> str:
    """What the prompt shares with those that belong to it. Without the suite's name: two suites
    that ask the same have the same groups. Raises BadInput where the rows lack it."""
    if rows.group is None:
        return ""
    value = prompt.metadata.get(rows.group)
    if not isinstance(value, str | int) or not str(value).strip():
        raise BadInput(
            f"{prompt.named} has no {rows.group!r} in its metadata, by which the suite groups",
            "give each row one, a text or a whole number, or correct `group` in the suite",
        )
    return f"{rows.group}:{value}"


def packaged_prompts() -> list[tuple[str, Prompt]]:
    """Every prompt of every packaged suite, with the suite's name; questions that two suites ask in
    two ways, once. Without those of suites whose optional data is not installed, and of needles,
    whose questions say nothing without their text. Raises BadInput if other data is missing."""
    left_out = left_out_suites()
    files = [name for name in known_suites() if name not in BUILT_IN]
    once = [
        name
        for name in files
        if name.removesuffix(LIKELIHOOD) not in files or not name.endswith(LIKELIHOOD)
        if name not in left_out and packaged_suite(name).needle is None
    ]
    prompts = [(name, prompt) for name in once for prompt in file_prompts(suite_path(name, None))]
    return prompts + [(CORNER_CASES, prompt) for prompt in _corner_cases(get_args(CaseName))]


def load_dev(config: SuiteConfig, count: int | None, prompts_folder: Path | None) -> list[Prompt]:
    """The dev part of a suite, or `count` prompts of it: those of the dev part that the smallest
    `limit` with as many of them has. Raises as `load_suite`."""
    prompts = in_part(load_suite(config, prompts_folder), DEV)
    return _first(prompts, _rounds(prompts, config.name, (DEV,)), config.name, count)


def sample(prompts: list[Prompt], suite: str, limit: int | None) -> list[Prompt]:
    """`limit` prompts drawn by their ids, in their original order: half of them from each part, as
    long as both have any. A smaller limit gives a subset of a larger one's.

    A question is drawn with all prompts that belong to it or not at all: where the next one no
    longer fits, the draw ends. In `corner_cases` every case gets as many questions, as long as it
    has some. BadInput where the limit leaves a part or a case without a question."""
    return _first(prompts, _rounds(prompts, suite, (FINAL, DEV)), suite, limit)


_Question = list[Prompt]
"""Prompts that belong together; mostly one."""


def _rounds(prompts: Sequence[Prompt], suite: str, parts: Sequence[str]) -> list[list[_Question]]:
    """The questions in the order in which a limit takes them. A round has one of every part, and in
    `corner_cases` one of every part and case; those that are used up are left out."""
    questions: dict[str, _Question] = {}
    for prompt in prompts:
        questions.setdefault(key_of(prompt), []).append(prompt)
    columns: dict[tuple[str, str], list[str]] = {}
    for key in sorted(questions, key=lambda key: (derive(SAMPLE_SEED, suite, key), key)):
        columns.setdefault((_turn(questions[key], suite), part_of(key)), []).append(key)
    turns = dict.fromkeys(_turn(question, suite) for question in questions.values())
    in_turn = [columns.get((turn, part), []) for turn in turns for part in parts]
    return [[questions[key] for key in keys if key is not None] for keys in zip_longest(*in_turn)]


def _turn(question: _Question, suite: str) -> str:
    """What takes turns in a draw: the cases. A pair of prompts of two cases counts as the first."""
    return question[0].capability if suite == CORNER_CASES else ""


def _first(
    prompts: list[Prompt], rounds: Sequence[list[_Question]], suite: str, count: int | None
) -> list[Prompt]:
    """Those of the prompts that are among the first `count` of the rounds."""
    if count is None or count >= len(prompts):
        return prompts
    least = sum(map(len, rounds[0]))
    if count < least:
        raise _too_few(suite, count, least)
    chosen: set[str] = set()
    for question in chain(*rounds):
        if len(chosen) + len(question) > count:
            break
        chosen.update(prompt.id for prompt in question)
    return [prompt for prompt in prompts if prompt.id in chosen]


def _too_few(suite: str, count: int, least: int) -> BadInput:
    if suite == CORNER_CASES:
        return BadInput(
            f"{suite}: a limit of {count} leaves cases without a question: one of each case and"
            f" part, in all of its languages, takes {least} prompts",
            f"give a limit of at least {least}, or fewer `cases`",
        )
    return BadInput(
        f"{suite}: a limit of {count} leaves a part without a question: one of each part, with all"
        f" prompts that belong to it, takes {least} prompts",
        f"give a limit of at least {least}",
    )
