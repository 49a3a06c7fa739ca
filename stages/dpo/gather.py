"""The pairs of a DPO stage: mined from the groups of RL stages, read from a person's files, sampled
from corner cases of the policy, or several of them in shares."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from common.artifacts import BAD_ROWS, GROUPS, HELD_OUT, PROMPTS
from common.errors import BadInput, RunFailed
from common.files import read_json_lines
from common.quotas import apportion
from common.stage import Inputs, StageContext
from evals.guarded import packaged_texts
from prompts.bad_rows import BadRows
from prompts.decontaminate import Overlap, decontaminate
from prompts.pair_config import PairFile
from prompts.pairs import Preference, load_pairs
from prompts.repeats import normalised, text_key
from prompts.schema import Prompt, read_prompts, with_system
from stages.dpo.case_sampling import SampledPairs, sampled_pairs
from stages.dpo.config import DpoStage, input_of
from stages.dpo.pairs import mine, why_none
from stages.dpo.sources import PairSource

MILLION = 1_000_000
Example = dict[str, list[dict[str, str]]]
"""A pair as TRL reads it: `prompt`, `chosen` and `rejected`, lists of messages."""


@dataclass
class Gathered:
    """What a stage trains on."""

    examples: list[Example] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    """The name of each pair in messages."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The lines of `pairs.jsonl`."""
    overlaps: list[Overlap] = field(default_factory=list)
    """Pairs of files that are left out because they overlap what the run evaluates on."""
    origins: dict[str, dict[str, int]] = field(default_factory=dict)
    """Counts of pairs by origin and what became of them."""

    notes: list[str] = field(default_factory=list)
    """What a person should know."""
    seen: set[str] = field(default_factory=set)
    """`content` of the pairs of files."""
    of_files: bool = False
    """Whether a source is a person's files."""
    sampled: SampledPairs | None = None
    """The pairs of corner cases."""
    cut_ids: dict[int, list[int]] = field(default_factory=dict)
    """By number of the example, the tokens of a rejected answer that the limit of tokens ended."""

    def add(self, example: Example, named: str, row: dict[str, Any]) -> None:
        self.examples.append(example)
        self.named.append(named)
        self.rows.append(row)


def gather(config: DpoStage, inputs: Inputs, context: StageContext) -> Gathered:
    """The pairs of all sources, each at most its share of `max_pairs`.

    RunFailed if there is none, BadInput for files that cannot be used."""
    sources = config.sources
    result = Gathered(of_files=any(one.file for one in sources))
    shares = {str(n): round(one.share * MILLION) for n, one in enumerate(sources)}
    quotas = apportion(config.max_pairs, shares)
    bad_rows = BadRows(partial(BAD_ROWS.append, context.folder) if context.main else None)
    if context.main and result.of_files:
        BAD_ROWS.write(context.folder, [])
    failures: list[RunFailed] = []
    for number, (name, source) in enumerate(zip(_names(sources), sources, strict=True)):
        before, quota = len(result.examples), quotas[str(number)]
        if source.file is not None:
            held_out = read_prompts(HELD_OUT.path(inputs["held_out"]), may_be_empty=True)
            _add_file(result, name, source.file, quota, held_out, bad_rows, context.seed)
        elif source.cases:
            result.sampled = sampled_pairs(config, source, quota, inputs, context)
            failures += _add_sampled(result, name, result.sampled)
        else:
            folder = inputs[input_of(number)]
            stage = str(source.stage)
            failures += _add_mined(result, config, stage, folder, quota, context.seed)
        taken = len(result.examples) - before
        if len(sources) > 1 and taken < quota:
            result.notes.append(f"pairs: {name} gives {taken} of the {quota} pairs of its share")
    result.notes += bad_rows.notes()
    if not result.examples:
        raise failures[0] if failures else _all_overlap(result.overlaps)
    return result


def _names(sources: Sequence[PairSource]) -> list[str]:
    """The name of each source in counts and notes, with its number where two have the same one."""
    names = [one.name for one in sources]
    return [
        f"{name} ({number})" if names.count(name) > 1 else name for number, name in enumerate(names)
    ]


def _add_mined(
    result: Gathered, config: DpoStage, stage: str, folder: Path, quota: int, seed: int
) -> list[RunFailed]:
    """Add the pairs of an RL stage; why there is none, if so."""
    groups = read_groups(GROUPS.path(folder))
    pairs = mine(groups, quota, config.max_length_ratio, seed, config.min_margin)
    messages = {prompt.id: prompt.messages for prompt in read_prompts(PROMPTS.path(folder))}
    for pair in pairs:
        asked = with_system(messages[pair.prompt_id], pair.system)
        example = _example(asked, pair.chosen, pair.rejected)
        result.add(example, f"prompt {pair.prompt_id}", asdict(pair))
    result.origins[stage] = {"trained": len(pairs)}
    if pairs:
        return []
    why, remedy = why_none(groups, config.min_margin)
    return [RunFailed(f"no pair in {len(groups)} groups of stage {stage!r}: {why}", remedy)]


def _add_sampled(result: Gathered, name: str, sampled: SampledPairs) -> list[RunFailed]:
    """Add the pairs of corner cases; why there is none, if so."""
    rows = zip(sampled.pairs, sampled.messages, sampled.cut_ids, strict=True)
    for pair, messages, cut_ids in rows:
        if cut_ids:
            result.cut_ids[len(result.examples)] = cut_ids
        example = _example(messages, pair.chosen, pair.rejected)
        result.add(example, f"prompt {pair.prompt_id}", asdict(pair))
    result.origins[name] = {"trained": len(sampled.pairs)}
    result.notes += sampled.notes
    if sampled.pairs:
        return []
    return [
        RunFailed(
            f"no pair from corner cases: {'; '.join(sampled.notes)}",
            "raise samples or temperature, or name cases that the policy shows in some answers",
        )
    ]


def read_groups(path: Path) -> list[dict[str, Any]]:
    """The groups of an RL stage. BadInput where the text of their system prompt is missing."""
    groups = read_json_lines(path)
    for number, group in enumerate(groups, start=1):
        if not isinstance(group["system"], str | None):
            raise BadInput(
                f"{path}, line {number}: system is {group['system']!r}, the number of a system"
                " prompt and not its text, as an earlier version of uphill wrote it",
                "run the RL stage again with --redo, so that pairs are trained under what they were"
                " sampled under",
            )
    return groups


def _example(messages: list[dict[str, str]], chosen: str, rejected: str) -> Example:
    return {
        "prompt": messages,
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def _add_file(
    result: Gathered,
    name: str,
    source: PairFile,
    quota: int,
    held_out: Sequence[Prompt],
    bad_rows: BadRows,
    seed: int,
) -> None:
    """Add a sample of a file's pairs that neither repeat nor overlap an evaluation."""
    loaded = load_pairs(source, bad_rows)
    different = _without_repeats(loaded, result.seen)
    clean, overlaps = without_overlaps(different, held_out)
    chosen = sample(clean, quota, seed)
    for pair in chosen:
        result.seen.add(pair.content)
        one, other = pair.chats()
        example = {"prompt": pair.messages, "chosen": one[-1:], "rejected": other[-1:]}
        result.add(example, pair.place, asdict(pair))
    counts = {
        "rows": len(loaded),
        "repeated": len(loaded) - len(different),
        "contaminated": len(overlaps),
        "not_drawn": len(clean) - len(chosen),
        "trained": len(chosen),
    }
    result.origins[name] = counts
    result.overlaps += overlaps
    result.notes += _remarks(name, counts, reversed_pairs(chosen))


def _without_repeats(pairs: Sequence[Preference], seen: Set[str]) -> list[Preference]:
    """The first pair of each content, without those that an earlier source gave."""
    different: dict[str, Preference] = {}
    for pair in pairs:
        if pair.content not in seen:
            different.setdefault(pair.content, pair)
    return list(different.values())


def without_overlaps(
    pairs: Sequence[Preference], held_out: Iterable[Prompt]
) -> tuple[list[Preference], list[Overlap]]:
    """The pairs that overlap no packaged suite, as training prompts must not, and whose prompts are
    not held out; and the overlaps of the others."""
    kept, overlaps = decontaminate([pair.learnt for pair in pairs], packaged_texts())
    held = {normalised(prompt): prompt for prompt in held_out}
    ids = set()
    for prompt in kept:
        text = normalised(prompt)
        if text in held:
            told = (prompt.id, prompt.place, prompt.source, prompt.capability)
            overlaps.append(Overlap(*told, "exact", "held_out", held[text].id, text[:200]))
        else:
            ids.add(prompt.id)
    return [pair for pair in pairs if pair.id in ids], overlaps


def sample(pairs: Sequence[Preference], count: int, seed: int) -> list[Preference]:
    """At most `count` pairs, in their order."""
    if count >= len(pairs):
        return list(pairs)
    ids = sorted(pair.id for pair in pairs)
    chosen = set(random.Random(seed).sample(ids, count))
    return [pair for pair in pairs if pair.id in chosen]


def reversed_pairs(pairs: Sequence[Preference]) -> int:
    """Number of pairs whose two answers another pair prefers the other way round."""
    known = Counter((text_key(pair.learnt), pair.chosen, pair.rejected) for pair in pairs)
    return sum((prompt, rejected, chosen) in known for prompt, chosen, rejected in known)


def _remarks(name: str, counts: dict[str, int], reverse: int) -> Iterator[str]:
    """What a person should know of a file's pairs."""
    if counts["contaminated"]:
        yield (
            f"{name}: {counts['contaminated']} pairs overlap an evaluation suite and are"
            " left out: contaminated.jsonl"
        )
    if counts["not_drawn"]:
        found = counts["trained"] + counts["not_drawn"]
        yield (
            f"{name}: a sample of {counts['trained']} of {found} pairs is trained on; raise"
            " max_pairs for more"
        )
    if reverse:
        yield (f"{name}: {reverse} pairs contradict another one, which prefers the other answer")


def _all_overlap(overlaps: Sequence[Overlap]) -> BadInput:
    first = overlaps[0]
    return BadInput(
        f"pairs: all {len(overlaps)} pairs overlap evaluation suites: {first.place} has"
        f" {first.text!r:.80} of {first.matched} ({first.suite})",
        "add pairs that no test set has",
    )
