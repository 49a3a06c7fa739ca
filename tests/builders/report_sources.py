"""Runs for the report: stages whose folders have the files that a test gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.artifacts import (
    ANSWERS,
    AUDIT,
    DEV_SCORES,
    LEDGER,
    METRICS,
    PARITY,
    PROBES,
    REASONS,
    RELIABILITY,
    RESULTS,
    REWARD_AGREEMENT,
    ROUTING,
)
from common.files import write_json, write_json_lines
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from evals.answer import Answer
from evals.compare import Evaluation
from evals.figures import summaries
from report.source import RunSource, StageSource

HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u202eevil\x1b[31m&"
"""Markup, a script, a mark that reverses the direction of writing, and a terminal's escape."""


def record_of(**fields) -> dict[str, Any]:
    plain = {
        "seconds": 36.0,
        "tokens_generated": 100,
        "tokens_trained": 260,
        "peak_memory_mib": 512,
        "attempts": 1,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:05:05+00:00",
        "machine": "a machine",
        "commit": "c" * 40,
        "versions": {"python": "3.11"},
        "fingerprint": "f" * 64,
        "seed": 7,
        "inputs": {},
        "files": {},
        "metrics": {},
    }
    return {**plain, **fields}


def stage(folder, id, kind="some", files: Mapping[str, Any] | None = None, **fields) -> StageSource:
    """A finished stage. `files`: name to lines (a list) or a document."""
    place = folder / id
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (files or {}).items():
        write = write_json_lines if isinstance(content, list) else write_json
        write(place / name, content)
    record = {"record": record_of(metrics=fields.pop("metrics", {}))} | fields
    return StageSource(id=id, kind=kind, folder=place, **{"state": "done", **record})


def evaluation(folder, of, answers: Sequence[Answer], **fields) -> StageSource:
    """A finished evaluation of a stage's checkpoint."""
    by_suite: dict[str, list[Answer]] = {}
    for answer in answers:
        by_suite.setdefault(answer.suite, []).append(answer)
    results = {"suites": {name: summaries(own) for name, own in by_suite.items()}}
    files = {RESULTS.file: results, ANSWERS.file: [answer.to_json() for answer in answers]}
    config = {"suites": [{"name": name} for name in by_suite]}
    return stage(folder, f"eval-{of}", "evaluate", files, evaluated=of, config=config, **fields)


def answer(number, correct, text="a text", suite="held_out", **fields) -> Answer:
    plain = {"capability": "words", "fault": None, "answer": text, "reference": "right"}
    more = {"tokens": 3, "finish": "stop", **fields}
    return Answer(
        **{"suite": suite, "id": f"p{number}", "correct": correct, "text": text, **plain, **more}
    )


def run_of(stages: Sequence[StageSource], name="some-run", parents=None) -> RunSource:
    """A run; every evaluation's parent is the one before it."""
    found, before = [], None
    for one in stages:
        if one.evaluated and one.state == "done":
            found.append(Evaluation(one.evaluated, before, f"{name}/{one.evaluated}", one.folder))
            before = one.evaluated
    return RunSource(name, list(stages), found)


def rl_rows(rewards: Sequence[float], **more) -> list[dict[str, Any]]:
    """Logged steps of a stage with rollouts."""
    return [
        {
            "step": step,
            "reward": reward,
            "pass_rate": reward,
            "mixed_share": 0.5,
            "cut_off_share": 0.0,
            "entropy": 1.0,
            "rollouts": 8,
            "tokens_generated": 40,
            "tokens_generated_total": 40 * step,
            "step_time": 2.0,
            "curriculum/pass_rate_0.0_0.2": 0.25,
            "curriculum/pass_rate_0.8_1.0": 0.75,
            "parity/rollout_gap": 1e-6,
            "router/dead_experts": 0,
            "router/load_entropy": 0.9,
            **more,
        }
        for step, reward in enumerate(rewards, start=1)
    ]


def group(id, rewards, capability="words", probe=False) -> dict[str, Any]:
    members = [{"reward": reward, "fault": None} for reward in rewards]
    return {"prompt_id": id, "capability": capability, "probe": probe, "members": members}


def ledger_of(folder, states: Mapping[str, str]) -> None:
    """A ledger with these prompts, of which some are retired."""
    with Ledger(LEDGER.path(folder)) as ledger:
        ledger.add(NewPrompt(id, "words", "s", Beta(1.0, 1.0)) for id in states)
        ledger.retire([id for id, state in states.items() if state == "retired"], 1)


def small_run(folder, text="a text", name="some-run", **fields) -> RunSource:
    """Base, a stage with rollouts, and an evaluation of each; `text` is in every place for one."""
    before = [answer(n, n < 3, text) for n in range(40)]
    after = [answer(n, n < 30, text, capability="words") for n in range(40)]
    learned = stage(
        folder,
        "learned",
        files={
            METRICS.file: rl_rows([0.1, 0.2, 0.3, 0.4]),
            PARITY.file: {"mean_gap": 1e-6},
            DEV_SCORES.file: [
                {"step": step, "suite": "held_out", "score": 0.5, "low": 0.4, "high": 0.6, "n": 9}
                for step in (2, 4)
            ],
        },
        config={"parity_tolerance": 1e-4, "note": text},
        note=text,
        **fields,
    )
    return run_of(
        [
            stage(folder, "base"),
            evaluation(folder, "base", before),
            learned,
            evaluation(folder, "learned", after),
        ],
        name,
    )


ESTIMATE = {"value": 0.6, "low": 0.5, "high": 0.7}
AUDITED = {
    "prompts": 200,
    "auc": ESTIMATE,
    "spearman": ESTIMATE,
    "calibration": [{"ease": 0.2, "pass_rate": 0.3, "prompts": 9}],
    "worth_asking": True,
    "sentence": "The judge ranks prompts better than chance",
}
AGREED = {
    "agreement": ESTIMATE,
    "telling": 40,
    "calibration": [{"judge": 0.2, "verifier": 0.3, "answers": 9}],
    "conclusion": "agrees",
    "sentence": "judge rubric agrees with exact",
}


def judged_stage(folder) -> StageSource:
    """A stage with all that is said about judges, and with probes, routing and predictions."""
    points = [{"predicted": 0.1, "observed": 0.2, "groups": 3}]
    probe = {"pass_at_k": 0.5, "pass_at_1": 0.25, "k": 8, "entropy": 1.0}
    files = {
        AUDIT.file: (AUDITED,),
        REWARD_AGREEMENT.file: [AGREED],
        REASONS.file: [{"decision": "kept", "capability": "words"}],
        PROBES.file: [{"step": step, **probe} for step in (2, 4)],
        RELIABILITY.file: {"predicted": points, "committed": points},
        ROUTING.file: [{"step": 4, "load": {"1": [0.25, 0.75], "3": [1.0, 0.0]}, "drift": {}}],
        METRICS.file: [{"step": step, "loss": 1 / step} for step in range(1, 900)],
    }
    return stage(folder, "judged", files=files, metrics={"kept": 1, "pass_rate": 0.25})


def full_run(folder) -> RunSource:
    """A run with something in every section."""
    corner = {"suite": "corner_cases", "capability": "repetition"}
    shown = [
        answer(n, n % 3 == 0, finding={"reason": "loops"} if n % 3 else None, **corner)
        for n in range(30)
    ]
    small = small_run(folder)
    own = [judged_stage(folder), stage(folder, "last"), evaluation(folder, "last", shown)]
    return run_of([*small.stages, *own])
