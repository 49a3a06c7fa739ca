"""Before RL begins, a judge whose rewards do not agree with a verifier's is named."""

from dataclasses import replace

import pytest

from builders.contexts import stage_context
from builders.judged_rewards import grader_with, judge_part, quoted, says
from builders.scripted_collector import RIGHT, WRONG, collector
from builders.scripted_endpoint import endpoint
from common.artifacts import REWARD_AGREEMENT
from stages.rl.agreement import PROMPTS, check_agreement

pytestmark = pytest.mark.usefixtures("impatient_client")


def checked(folder, judge, prompts=30, parts=True):
    """The notes, the report and the engine after a check whose judge's endpoint says `judge`."""
    notes: list[str] = []
    script = {f"q{n}": [RIGHT, WRONG] for n in range(prompts)}
    own, _, engine = collector(script)
    with endpoint(judge) as (url, requests):
        rewards = ({"verifier": "exact"}, judge_part(url))
        for id, prompt in own.prompts.items() if parts else ():
            own.prompts[id] = replace(prompt, answer=RIGHT, rewards=rewards)
        with grader_with() as own.grader:
            check_agreement(own, stage_context(folder, note=notes.append))
    return notes, REWARD_AGREEMENT.read(folder), engine, requests


def test_a_judge_that_says_yes_to_everything_is_named_before_the_first_step(tmp_path):
    notes, (report,), engine, _ = checked(tmp_path, lambda request: says(0.9))
    assert len(notes) == 1 and "judge rubric is UNTRUSTWORTHY" in notes[0]
    assert report["conclusion"] == "untrustworthy" and report["agreement"]["value"] == 0.5
    assert report["prompts"] == 30 and report["answers"] == 120
    (_, samples, seeds) = engine.asked[0]
    assert len(engine.asked) == 1 and samples == [4] * 30 and len(set(seeds)) == 30


def test_a_judge_that_sees_what_is_right_is_said_to_agree(tmp_path):
    knows = lambda request: says(0.9 if quoted(request)[1] == RIGHT else 0.2)  # noqa: E731
    notes, (report,), _, _ = checked(tmp_path, knows)
    assert "judge rubric agrees with exact" in notes[0] and report["conclusion"] == "agrees"


def test_a_sample_is_enough(tmp_path):
    _, (report,), _, _ = checked(tmp_path, lambda request: says(0.5), prompts=PROMPTS + 20)
    assert report["prompts"] == PROMPTS


def test_nothing_is_sampled_where_no_prompt_has_both_rewards(tmp_path):
    notes, report, engine, requests = checked(tmp_path, lambda request: says(0.5), parts=False)
    assert not notes and not report and not engine.asked and not requests
