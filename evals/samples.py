"""What a stage's policy wrote, with the prompts: rollouts of one RL step, preference pairs, or the
answers of an evaluation. Files of a stage that is still running are read up to the last line that
is complete."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, GROUPS, PAIRS, PROMPTS
from common.errors import BadInput
from common.files import each_json_line
from corner_cases.sets import TRAINING, load_set
from evals.config import SuiteConfig
from evals.suites import load_suite
from prompts.schema import Prompt, read_prompts, with_system

CHOSEN, REJECTED = "chosen", "rejected"
Row = dict[str, Any]
Messages = list[dict[str, str]]


def rollouts(
    folder: Path, prompts: Path, step: int | None, pass_at: float, wrong: bool, limit: int
) -> Row:
    """The groups of a step, counted from 1, by default the last one; of `wrong` rollouts only the
    groups that have some, and those alone. `prompts` is the file of the stage's prompts.

    BadInput where there is no such step, or a file is damaged."""
    found, first, last, groups = _step(GROUPS.path(folder), step)
    known = _by_id(prompts)
    samples = (_group(group, known.get(group["prompt_id"]), pass_at, wrong) for group in groups)
    kept = [one for one in samples if one["replies"]]
    members = sum(len(group["members"]) for group in groups)
    counts = {"first_step": first, "last_step": last, "prompts": len(groups), "replies": members}
    return {"step": found, **counts, "samples": kept[:limit]}


def _step(path: Path, step: int | None) -> tuple[int, int, int, list[Row]]:
    """A step, the first and the last one that there are, and its groups. Only the groups of one
    step are kept in memory."""
    first: int | None = None
    last, groups = 0, list[Row]()
    for group in _lines(path):
        number = group["step"] + 1
        first = number if first is None else min(first, number)
        if step is None and number > last:
            groups = []
        last = max(last, number)
        if number == (step or last):
            groups.append(group)
    if not groups or first is None:
        there = "there are none yet" if first is None else f"there are steps {first} to {last}"
        what = "no rollouts" if step is None else f"no rollouts of step {step}"
        raise BadInput(f"{path}: {what}", there)
    return step or last, first, last, groups


def _group(group: Row, prompt: Prompt | None, pass_at: float, wrong: bool) -> Row:
    messages = None if prompt is None else with_system(prompt.messages, group["system"])
    return {
        "id": group["prompt_id"],
        "capability": group["capability"],
        "probe": group["probe"],
        "prompt": messages,
        "reference": None if prompt is None else prompt.answer,
        "replies": [
            _member(member)
            for member in group["members"]
            if not wrong or member["fault"] is not None or member["reward"] < pass_at
        ],
    }


def _member(member: Mapping[str, Any]) -> Row:
    kept = {name: member[name] for name in ("text", "reward", "fault", "finish")}
    parts = {"parts": member["parts"]} if member.get("parts") else {}
    return {**kept, "tokens": len(member["token_ids"]), **parts}


def pairs(folder: Path, prompts: Sequence[Path], limit: int) -> Row:
    """The first preference pairs that a stage trained on. `prompts` are the files of prompts whose
    rollouts they may be of."""
    rows = list(_lines(PAIRS.path(folder)))
    known: dict[str, Prompt] = {}
    for path in prompts:
        known |= _by_id(path)
    for case in {row["case"] for row in rows[:limit] if "case" in row}:
        known |= {prompt.id: prompt for prompt in load_set(case, TRAINING)}
    counts = {"prompts": len(rows), "replies": 2 * len(rows)}
    return {**counts, "samples": [_pair(row, known) for row in rows[:limit]]}


def _pair(row: Row, known: Mapping[str, Prompt]) -> Row:
    id = str(row.get("prompt_id", row.get("id")))
    messages = row.get("messages")
    if messages is None and id in known:
        messages = with_system(known[id].messages, row.get("system"))
    return {
        "id": id,
        "capability": row.get("case", known[id].capability if id in known else ""),
        "prompt": messages,
        "replies": [
            {"is": side, "text": row[side]} | _of_side(row, side) for side in (CHOSEN, REJECTED)
        ],
    }


def _of_side(row: Row, side: str) -> Row:
    names = {f"{side}_tokens": "tokens", f"{side}_finish": "finish"}
    told = {short: row[name] for name, short in names.items() if name in row}
    return {**told, "finding": row["reason"]} if side == REJECTED and "reason" in row else told


def answers(
    folder: Path, suites: Sequence[SuiteConfig], prompts: Path | None, wrong: bool, limit: int
) -> Row:
    """The first answers of an evaluation to each of its suites, `limit` of all; of `wrong` ones
    only those that are not correct. `prompts` is the folder of the finished prompts stage."""
    by_suite: dict[str, list[Row]] = {suite.name: [] for suite in suites}
    count = 0
    for row in _lines(ANSWERS.path(folder)):
        count += 1
        if not (wrong and row["correct"]):
            by_suite.setdefault(row["suite"], []).append(row)
    rows = list(islice(_in_turn(list(by_suite.values())), limit))
    known = {
        (suite.name, prompt.id): prompt
        for suite in suites
        if any(row["suite"] == suite.name for row in rows)
        for prompt in load_suite(suite, prompts)
    }
    samples = [_answer(row, known.get((row["suite"], row["id"]))) for row in rows]
    return {"prompts": count, "replies": count, "samples": samples}


def _in_turn(groups: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """The first of each group, then the second ones, and so on."""
    for number in range(max(map(len, groups), default=0)):
        yield from (group[number] for group in groups if number < len(group))


def _answer(row: Row, prompt: Prompt | None) -> Row:
    kept = ("text", "fault", "finish", "tokens", "reward", "parts")
    reply = {name: row[name] for name in kept if name in row}
    reply |= {"is": "right" if row["correct"] else "wrong", "read": row.get("answer")}
    finding = row.get("finding")
    return {
        "id": row["id"],
        "suite": row["suite"],
        "capability": row["capability"],
        "prompt": None if prompt is None else prompt.messages,
        "reference": row.get("reference"),
        "replies": [reply | ({"finding": finding["reason"]} if finding else {})],
    }


def _by_id(path: Path) -> dict[str, Prompt]:
    if not path.is_file():
        return {}
    return {prompt.id: prompt for prompt in read_prompts(path, may_be_empty=True)}


def prompts_file(*folders: Path) -> Path:
    """The prompts of the first of some folders that has them."""
    files = [PROMPTS.path(folder) for folder in folders]
    return next((path for path in files if path.is_file()), files[-1])


def _lines(path: Path) -> Iterator[Row]:
    try:
        yield from each_json_line(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}", "run the stage") from None
    except ValueError as error:
        raise BadInput(f"{path}: is damaged: {error}", "run the stage again with --redo") from None
