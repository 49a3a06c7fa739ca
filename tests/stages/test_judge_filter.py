"""The judge filter stage with judges behind endpoints."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from builders.judge_filter_runs import run_filter
from builders.scripted_endpoint import (
    completion,
    endpoint,
    judge_at,
    rating,
    vllm,
)
from builders.scripted_judge import PROMPTS, prompt
from common.errors import BadInput, RunFailed
from common.files import read_json_lines
from curriculum.ledger import Ledger
from judges.config import PairwiseJudge, RubricJudge
from judges.verdict import Reply, Verdict
from prompts.schema import read_prompts
from stages.judge_filter.config import JudgeFilterStage
from stages.judge_filter.judged_prompts import ledger_entries

pytestmark = pytest.mark.usefixtures("impatient_client", "own_verdict_cache")


def test_an_endpoint_that_dies_midway_ends_the_run(tmp_path):
    answered: list[dict[str, Any]] = []

    def dying(request):
        answered.append(request)
        return vllm(request) if len(answered) <= 3 else (500, {})

    with (
        endpoint(dying) as (url, _),
        pytest.raises(RunFailed, match="gave no answer to 7 of 10 questions"),
    ):
        run_filter(tmp_path, judge_at(url, attempts=3, concurrency=1), PROMPTS)


def test_the_stage_writes_kept_and_dropped_with_reasons_and_priors(tmp_path):
    prompts = [
        prompt(f"p{n}", answer="8" if n % 2 else "7", capability="ab"[n // 5]) for n in range(10)
    ]
    with endpoint(vllm) as (url, _):
        outputs, folder = run_filter(tmp_path, judge_at(url, attempts=3), prompts)
    kept, dropped = (
        read_prompts(folder / "prompts.parquet"),
        read_prompts(folder / "dropped.parquet"),
    )
    assert sorted(p.id for p in [*kept, *dropped]) == [p.id for p in prompts] and len(dropped) == 5
    assert {p.answer for p in dropped} == {"7"}  # every easy one, and none else: five of ten
    reasons = {line["id"]: line for line in read_json_lines(folder / "reasons.jsonl")}
    assert {reasons[p.id]["decision"] for p in dropped} == {"dropped"}
    assert (
        reasons["p2"]["reason"].startswith("easy: rank")
        and "3 of 3 attempts passed" in reasons["p2"]["reason"]
    )
    rows = Ledger(folder / "ledger.sqlite").records()
    assert [row.id for row in rows] == sorted(p.id for p in kept)
    assert all(row.verdict and row.verdict["graded"] == 3 for row in rows)
    assert all(row.prior.a + row.prior.b == pytest.approx(2) for row in rows)
    assert outputs.metrics["pass_rate"] == 0.5 and outputs.metrics["capabilities"]["a"]["kept"] == 2
    assert outputs.tokens_generated == 30 and outputs.metrics["asked"] == 10
    json.dumps(outputs.metrics, allow_nan=False)


def test_a_broken_prompt_is_set_aside_with_the_evidence(tmp_path):
    prompts = [prompt(f"p{n}", answer="8" if n == 3 else "7") for n in range(10)]
    with endpoint(vllm) as (url, _):
        outputs, folder = run_filter(tmp_path, judge_at(url, attempts=4), prompts, share=0.0)
    reasons = {line["id"]: line for line in read_json_lines(folder / "reasons.jsonl")}
    assert reasons["p3"]["decision"] == "broken" and reasons["p3"]["evidence"] == {"7": 4}
    assert outputs.metrics["broken"] == 1
    assert "p3" not in [p.id for p in read_prompts(folder / "prompts.parquet")]


def test_unjudged_prompts_are_set_aside_and_a_second_run_is_identical(tmp_path):
    def half(request):
        return (
            (500, {})
            if request["messages"][0]["content"] in ("say p1", "say p3")
            else vllm(request)
        )

    with endpoint(half) as (url, _):
        first, folder = run_filter(tmp_path, judge_at(url, attempts=3), PROMPTS)
        dump = Ledger(folder / "ledger.sqlite").dump()
        reasons = (folder / "reasons.jsonl").read_bytes()
        again, _ = run_filter(tmp_path, judge_at(url, attempts=3), PROMPTS)
    assert again == first and (folder / "reasons.jsonl").read_bytes() == reasons
    assert Ledger(folder / "ledger.sqlite").dump() == dump
    assert (first.metrics["kept"], first.metrics["dropped"], first.metrics["unjudged"]) == (4, 4, 2)
    assert first.metrics["faults"] == {"endpoint_error": 6}
    aside = [
        line for line in read_json_lines(folder / "reasons.jsonl") if line["decision"] == "unjudged"
    ]
    assert [(line["id"], line["rank"]) for line in aside] == [("p1", None), ("p3", None)]
    assert "3 endpoint_error" in aside[0]["reason"]


def test_several_judges_decide_together_and_their_agreement_is_measured(tmp_path):
    with endpoint(rating) as (url, _):
        judges = [judge_at(url, RubricJudge), judge_at(url, PairwiseJudge)]
        outputs, folder = run_filter(tmp_path, judges, PROMPTS)
    assert sorted(p.id for p in read_prompts(folder / "dropped.parquet")) == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    assert outputs.metrics["agreement"]["1 and 2"] > 0.85  # three ratings, ten places
    assert abs(outputs.metrics["judge_2/position_bias"]) < 1e-9
    priors = {row.id: row.prior.mean for row in Ledger(folder / "ledger.sqlite").records()}
    assert priors["p5"] > priors["p9"]
    assert {line["judge"] for line in read_json_lines(folder / "verdicts.jsonl")} == {1, 2}


def test_a_filter_that_stops_early_makes_the_same_cut_from_fewer_attempts(tmp_path):
    prompts = [prompt(f"p{n}", answer="8" if n % 2 else "7") for n in range(10)]
    outputs, reasons = {}, {}
    for early in (False, True):
        folder = tmp_path / str(early)
        folder.mkdir()
        with endpoint(vllm) as (url, _):
            outputs[early], out = run_filter(
                folder, judge_at(url, attempts=3), prompts, stop_early=early
            )
        reasons[early] = read_json_lines(out / "reasons.jsonl")
        priors = {row.id: row.prior for row in Ledger(out / "ledger.sqlite").records()}
    assert [one["decision"] for one in reasons[True]] == [one["decision"] for one in reasons[False]]
    assert "2 of 2 attempts passed (1 not asked for)" in reasons[True][0]["reason"]
    assert outputs[True].tokens_generated == 20 and outputs[False].tokens_generated == 30
    assert outputs[True].metrics["attempts_not_asked_for"] == 10
    assert "attempts_not_asked_for" not in outputs[False].metrics
    assert outputs[True].metrics["pass_rate"] == 0.5
    # Two failures, and a pool of 30 attempts of which half pass: (0 + 2 / 2) / (2 + 2).
    assert priors["p1"].mean == pytest.approx(1 / 4)


def test_prompts_whose_attempts_stopped_count_like_others_in_the_pooled_rate():
    def verdict(id, passed, failed, left):
        replies = [Reply("", "stop", 1, "", 1.0, None)] * passed
        replies += [Reply("", "stop", 1, "", 0.0, None)] * failed
        return Verdict(id, "attempts", replies, 0.5, left=left)

    verdicts = [verdict("p0", 0, 3, 3), verdict("p1", 6, 0, 0)]
    (entry,) = ledger_entries(["p0"], PROMPTS[:2], [verdicts])
    # Pooled (6 + 1) / (12 + 2); the prompt itself has three failures: (0 + 2 / 2) / (3 + 2).
    assert entry.prior.mean == pytest.approx(1 / 5)


def test_stopping_early_is_refused_where_nothing_can_be_decided():
    url = "http://localhost:1/v1"
    for judges, share, said in (
        ([judge_at(url), judge_at(url, RubricJudge)], 0.5, "attempts, got attempts, rubric"),
        ([judge_at(url, PairwiseJudge)], 0.5, "attempts, got pairwise"),
        ([judge_at(url)], 0.0, "drops nothing"),
    ):
        with pytest.raises(ValidationError, match=said):
            JudgeFilterStage(
                id="f",
                kind="judge_filter",
                judges=tuple(judges),
                drop_easiest=share,
                stop_early=True,
            )


def test_a_judge_that_never_gives_a_label_ends_the_run(tmp_path):
    with (
        endpoint(lambda request: completion(request, "banana")) as (url, _),
        pytest.raises(RunFailed, match="not one of 10 prompts could be judged: unreadable"),
    ):
        run_filter(tmp_path, judge_at(url, RubricJudge), PROMPTS)


def test_an_impossible_share_is_refused_before_the_judge_is_asked(tmp_path):
    with endpoint(vllm) as (url, requests):
        pool = [
            prompt("a", capability="a"),
            prompt("b", capability="b"),
            prompt("c", capability="c"),
        ]
        with pytest.raises(BadInput, match="must keep 1"):
            run_filter(tmp_path, judge_at(url, attempts=3), pool, share=0.5)
    assert not requests


def test_examples_are_sent_unless_no_prompt_has_their_capability(
    tmp_path,
):
    solved = [{"question": "say x", "answer": "x"}]
    with endpoint(vllm) as (url, requests):
        with pytest.raises(BadInput, match="examples of ab, and no prompt"):
            run_filter(tmp_path, judge_at(url, attempts=3, examples={"ab": solved}), PROMPTS)
        assert not requests
        run_filter(tmp_path, judge_at(url, attempts=3, examples={"c": solved}), PROMPTS)
    assert all(
        [turn["content"] for turn in request["messages"]][:2] == ["say x", "x"]
        for request in requests
    )
