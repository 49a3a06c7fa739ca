"""Measure whether a judge filter improves RL: the score after RL on the prompts that five filters
of one pool keep, all else equal.

    make bench-cut                # judge, random, reverse, policy, none; 4 paired seeds; resumes
    existing work

As in the quickstart, a pretrained model goes through a filter, a light SFT and RL. The model is the
nano that the curriculum benchmark starts from, with its pool of trivial, medium and unreachable
prompts. SmolLM2 judges the pool once (attempts, with examples). Each filter drops half of every
capability:

- `judge`: the easiest half, as `judge_filter` does; `reverse`: the hardest half; `random`: a random
  half; `none`: nothing;
- `policy`: the half whose answers the starting model finds likeliest, which a perfect judge of ease
  would drop.

SFT uses equally many of the kept prompts, RL equally many steps, with the `posterior` curriculum
and no prior from the judge, so only the filter differs. `score` is the mean probability of the
reference answer over held-out prompts of all difficulties. The audit's sentence about the judge is
stored with the results."""

import argparse
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curriculum_settings import SETTINGS
from benchmarks.curves import interval
from benchmarks.harness import RESULTS, ROOT, commit, machine
from benchmarks.held_out import answer_probabilities
from common.files import read_json, read_json_lines, write_json
from common.seeds import derive
from common.stage import StageContext
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from models.chat import encode_text
from models.checkpoint import load_policy, load_tokenizer
from prompts.schema import Prompt, write_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.run import run as judge_filter
from stages.rl.config import RlStage
from stages.rl.run import run as rl
from stages.sft.config import SftStage
from stages.sft.run import run as sft

FILTERS = ("judge", "random", "reverse", "policy", "none")
SEEDS, POOL, STEPS, SFT_PROMPTS = 4, 512, 30, 240
NANO = SETTINGS["nano"]
WORK = ROOT / "runs" / "bench-cut"
EXAMPLES = {
    "numbers": [("gcd 12, 18", "6"), ("gcd 7, 21, 14", "7"), ("20 + 31 - 4 =", "47")],
    "letters": [("copy lamp", "lamp"), ("reverse stone", "enots"), ("reverse cat", "tac")],
}
FILTER = JudgeFilterStage.model_validate(
    {
        "id": "filter",
        "kind": "judge_filter",
        "judges": [
            {
                "kind": "attempts",
                "model": "smollm2-135m-instruct",
                "max_tokens": 16,
                "examples": {
                    name: [{"question": q, "answer": a} for q, a in tasks]
                    for name, tasks in EXAMPLES.items()
                },
            }
        ],
        "drop_easiest": 0.5,
        "audit": {"prompts": 200, "max_tokens": NANO.max_tokens},
    }
)
SFT = {
    "id": "sft",
    "kind": "sft",
    "on": "filter",
    "train": "full",
    "limit": SFT_PROMPTS,
    "batch_size": 16,
}
RL = NANO.stage("posterior").model_dump(by_alias=True) | {"on": "filter", "steps": STEPS}


def context(folder: Path, seed: int) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    return StageContext(folder, seed, lambda *_, **__: None, lambda: False, 2)


def judge(pool: list[Prompt], start: Path) -> None:
    """Judge the pool once; the stage writes below `WORK`."""
    if (WORK / "metrics.json").exists():
        return
    write_prompts(WORK / "pool" / "prompts.parquet", pool)
    inputs = {"prompts": WORK / "pool", "policy": start}
    outputs = judge_filter(FILTER, inputs, context(WORK / "filter", 0))
    write_json(WORK / "metrics.json", outputs.metrics)


def kept_prompts(name: str, pool: Sequence[Prompt], seed: int, start: Path) -> list[Prompt]:
    """The judged prompts that a filter keeps. Except for `none`, every capability loses as many
    prompts as to the judge."""
    likely = (
        dict(zip((p.id for p in pool), probabilities(start, pool), strict=True))
        if name == "policy"
        else {}
    )
    decisions = {line["id"]: line for line in read_json_lines(WORK / "filter" / "reasons.jsonl")}
    capabilities = defaultdict(list)
    for prompt in pool:
        if decisions[prompt.id]["rank"] is not None:
            capabilities[prompt.capability].append(prompt)
    kept = []
    for members in capabilities.values():
        dropped = (
            0 if name == "none" else sum(decisions[p.id]["decision"] == "dropped" for p in members)
        )
        orders = {"judge": 1, "reverse": -1}
        rank = {
            p.id: -likely[p.id] if likely else orders.get(name, 0) * decisions[p.id]["rank"]
            for p in members
        }
        members.sort(key=lambda p: (rank[p.id], derive(seed, "random", p.id)))
        kept += members[dropped:]
    return kept


def run(
    name: str, seed: int, pool: Sequence[Prompt], held_out: Sequence[Prompt], start: Path
) -> dict[str, Any]:
    """The scores of one filter and seed."""
    folder = WORK / "arms" / f"{name}-{seed}"
    if not (folder / "done.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        prompts = kept_prompts(name, pool, seed, start / "checkpoint")
        filter_folder = folder / "cut"
        write_prompts(filter_folder / "prompts.parquet", prompts)
        with Ledger(None) as ledger:
            ledger.add(
                NewPrompt(p.id, p.capability, p.source, Beta(1.0, 1.0), settings=p.difficulty)
                for p in prompts
            )
            ledger.snapshot(filter_folder / "ledger.sqlite")
        light = SftStage.model_validate(SFT | {"learning_rate": 3.0e-4, "save_every": 1000})
        sft(
            light,
            {"prompts": filter_folder, "checkpoint": start},
            context(folder / "sft", derive(seed, "sft")),
        )
        collector = RlStage.model_validate(RL)
        inputs = {"filter": filter_folder, "checkpoint": folder / "sft"}
        outputs = rl(collector, inputs, context(folder / "rl", derive(seed, "rl")))
        scores = {stage: score(folder / stage / "checkpoint", held_out) for stage in ("sft", "rl")}
        done = {
            "commit": commit(),
            "prompts": len(prompts),
            "tokens": outputs.tokens_generated,
            **scores,
        }
        for stage in ("sft", "rl"):
            shutil.rmtree(folder / stage)
        write_json(folder / "done.json", done)
    finished: dict[str, Any] = read_json(folder / "done.json")
    return finished


def score(checkpoint: Path, held_out: Sequence[Prompt]) -> dict[str, float]:
    """Mean probability of the reference answer, overall and by capability."""
    parts = defaultdict(list)
    for prompt, value in zip(held_out, probabilities(checkpoint, held_out), strict=True):
        parts[prompt.capability].append(value)
    whole = fmean(value for values in parts.values() for value in values)
    return {"all": whole, **{name: fmean(parts[name]) for name in sorted(parts)}}


def probabilities(checkpoint: Path, prompts: Sequence[Prompt]) -> list[float]:
    """Probability of every prompt's reference answer."""
    policy, tokenizer = load_policy(checkpoint), load_tokenizer(checkpoint)
    asked = [
        tokenizer.apply_chat_template(p.messages, add_generation_prompt=True, return_dict=False)
        for p in prompts
    ]
    answers = [[*encode_text(tokenizer, p.answer), tokenizer.eos_token_id] for p in prompts]
    return answer_probabilities(policy, asked, answers, NANO.rows)


def summary(held_out: Sequence[Prompt], start: Path) -> None:
    """Write `results/cut.json`: the scores of every arm, and the difference of each filter from the
    random one, paired by seed."""
    arms = {
        name: [read_json(WORK / "arms" / f"{name}-{seed}" / "done.json") for seed in range(SEEDS)]
        for name in FILTERS
    }
    figures: dict[str, Any] = {
        "start": score(start / "checkpoint", held_out),
        "mean": {},
        "against_random": {},
    }
    for name, runs in arms.items():
        figures["mean"][name] = {
            stage: fmean(done[stage]["all"] for done in runs) for stage in ("sft", "rl")
        }
        pairs = zip(runs, arms["random"], strict=True)
        figures["against_random"][name] = interval(
            [one["rl"]["all"] - other["rl"]["all"] for one, other in pairs]
        )
    audit = read_json(WORK / "filter" / "audit.json")[0]
    metrics = read_json(WORK / "metrics.json")
    head = {"command": "make bench-cut", "commit": commit(), "machine": machine()}
    write_json(
        RESULTS / "cut.json", {**head, **figures, "arms": arms, "judge": metrics, "audit": audit}
    )
    print({name: figures[name] for name in ("start", "mean", "against_random")}, audit["sentence"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("judge", "arms", "summary"))
    parser.add_argument(
        "--share", default="0/1", help="0/2 and 1/2: every other arm, for two processes"
    )
    arguments = parser.parse_args()
    pool, held_out, checkpoint = NANO.material()
    start, pool = checkpoint.parent, pool[:POOL]
    if arguments.part == "judge":
        judge(pool, start)
    elif arguments.part == "summary":
        summary(held_out, start)
    else:
        place, of = map(int, arguments.share.split("/"))
        pairs = ((seed, name) for seed in range(SEEDS) for name in FILTERS)
        for number, (seed, name) in enumerate(pairs):
            if number % of == place:
                done = run(name, seed, pool, held_out, start)
                print(
                    f"{name} {seed}: {done['sft']['all']:.4f} {done['rl']['all']:.4f}", flush=True
                )


if __name__ == "__main__":
    main()
