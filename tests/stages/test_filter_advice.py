"""The advice of a filter: what it believes of the pool, when it warns, and what it does not take
for difficulty."""

from dataclasses import replace

import pytest

from builders.judge_filter_runs import run_filter
from builders.scripted_endpoint import endpoint, judge_at, vllm
from builders.scripted_judge import prompt
from judges.audit import AuditedPrompt, audit
from judges.filtering import Decision
from judges.verdict import Reply, Verdict
from stages.judge_filter.advice import advise
from stages.judge_filter.config import JudgeFilterStage

JUDGE = {"kind": "attempts", "model": "m", "attempts": 4}
AUDIT = {"prompts": 64, "attempts": 16}


def filter_of(share=0.5, **more):
    settings = {"id": "filter", "kind": "judge_filter", "judges": [JUDGE], "drop_easiest": share}
    return JudgeFilterStage.model_validate(settings | more)


def verdict(id, passed, faults=0, fault="cut_off"):
    wrong = 4 - passed - faults
    replies = [Reply("7", "stop", 1, "7", 1.0, None)] * passed
    replies += [Reply("8", "stop", 1, "8", 0.0, None)] * wrong
    replies += [Reply("", "length", 1, None, None, fault)] * faults
    return Verdict(id, "attempts", replies, passed / 4)


def decisions_of(verdicts, share):
    """The easiest share dropped."""
    order = sorted(verdicts, key=lambda one: -(one.ease or 0))
    drops = round(share * len(order))
    return {
        one.id: Decision(
            one.id, "c", "dropped" if n < drops else "kept", n + 1, one.ease, None, "", {}
        )
        for n, one in enumerate(order)
    }


def advice_on(*counts, share=0.5, faults=0, rates=None, worth=True):
    """The advice on counts[k] prompts that the judge passed k times of four."""
    passed = [k for k, count in enumerate(counts) for _ in range(count)]
    verdicts = [verdict(f"p{n}", k, faults) for n, k in enumerate(passed)]
    decisions, audited = decisions_of(verdicts, share), []
    if rates is not None:
        rows = [
            AuditedPrompt(
                id, 0.5, None, None, 0.5, passes, tries, decisions[id].decision == "dropped"
            )
            for id, (passes, tries) in rates.items()
        ]
        audited = [replace(audit(rows, share, True, 0), worth_asking=worth)]
    config = filter_of(share, **({"audit": AUDIT} if rates else {}))
    return advise(config, [verdicts], decisions, rates or {}, audited, 0)


def rates_of(*groups):
    """(prompts, passes) to what a policy passes of 16 attempts."""
    passes = [passes for count, passes in groups for _ in range(count)]
    return {f"p{n}": (one, 16) for n, one in enumerate(passes)}


def test_a_pool_that_is_mostly_solved_is_cut_without_a_warning():
    advice = advice_on(20, 20, 30, 30, 300)
    (line,) = advice.lines
    assert line.startswith("the pool, as the judge solves it: 77 % [") and "] solved, " in line
    assert "1600 attempts at 400 prompts" in line and "above 80 %" in line
    assert advice.warnings == [] and advice.drop_easiest == 0.75


def test_a_pool_that_is_mostly_out_of_reach_is_warned_of_with_the_share_that_is_solved():
    advice = advice_on(600, 80, 80, 40, 100)
    warning = advice.warnings[0]
    assert warning.startswith("WARNING: drop_easiest 0.5 does harm here.")
    assert "out of reach for the judge" in warning
    assert "an audit measures the policy" in advice.warnings[-1]
    assert f"set drop_easiest: {advice.drop_easiest:g}, the share that is solved" in warning
    assert 0.05 <= (advice.drop_easiest or 0) <= 0.15
    assert advice_on(600, 80, 80, 40, 100, share=0.1).warnings == []  # drops only what is solved
    assert advice_on(600, 80, 80, 40, 100, share=0.0).warnings == []


def test_the_policy_of_an_audit_is_believed_before_the_judge():
    rates = rates_of((44, 0), (10, 8), (10, 16))
    advice = advice_on(20, 20, 30, 30, 300, rates=rates)
    assert [line.split(":")[0] for line in advice.lines] == [
        "the pool, as the judge solves it",
        "the pool, as the policy solves it",
    ]
    assert "does harm" in advice.warnings[0] and "for the policy" in advice.warnings[0]
    assert "an audit" not in advice.warnings[-1] and advice.drop_easiest == 0.15
    solved = advice_on(300, 20, 20, 10, 50, rates=rates_of((16, 8), (48, 16)))
    assert solved.warnings == [] and solved.drop_easiest == 0.75
    useless = advice_on(20, 20, 30, 30, 300, rates=rates, worth=False)
    assert useless.drop_easiest == 0 and "set drop_easiest: 0, as the audit" in useless.warnings[0]


def test_failures_with_another_cause_are_not_taken_for_difficulty():
    cut = advice_on(300, 40, 40, faults=2)
    assert "760 of 1520 attempts have no grade (760 cut_off)" in cut.lines[0]
    assert "raise max_tokens" in cut.lines[0] and cut.warnings == [] and cut.drop_easiest is None
    none = advice_on(300)
    assert "not one of 1200 attempts passed" in none.lines[0] and "examples" in none.lines[0]
    few = advice_on(10, 3, 3)
    assert "16 prompts were attempted, and 20 are needed" in few.lines[0]
    assert none.warnings == few.warnings == [] and none.shares == few.shares == {}


def test_an_audit_whose_attempts_are_cut_off_leaves_the_judge_to_be_believed():
    rates = {f"p{n}": (0, 3) for n in range(64)}
    advice = advice_on(300, 20, 20, 10, 50, rates=rates)
    assert "832 of 1024 attempts have no grade; raise audit.max_tokens" in advice.lines[1]
    assert "for the judge" in advice.warnings[0]


def test_too_few_medium_prompts_are_warned_of_with_what_helps():
    (warning,) = advice_on(0, 4, 4, 4, 100, share=0.5).warnings
    assert "of 56 kept prompts about" in warning and "add prompts of medium difficulty" in warning
    (other,) = advice_on(40, 20, 30, 20, 4, share=0.8).warnings
    assert "Remedy: set drop_easiest: 0" in other


def test_the_advice_is_in_the_record_and_shown(tmp_path):
    notes: list[str] = []
    prompts = [prompt(f"p{n}", answer="7" if n % 4 == 0 else "8") for n in range(120)]
    with endpoint(vllm) as (url, _):
        outputs, _ = run_filter(
            tmp_path, judge_at(url, attempts=3), prompts, context={"note": notes.append}
        )
    pool = outputs.metrics["pool"]
    assert pool["lines"] + pool["warnings"] == notes and "does harm" in notes[1]
    assert pool["shares"]["judge"]["out_of_reach"]["value"] == pytest.approx(0.75, abs=0.02)
    assert pool["drop_easiest"] == pytest.approx(0.25, abs=0.051)
