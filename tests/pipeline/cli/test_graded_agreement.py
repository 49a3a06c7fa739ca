"""`uphill grade` says whether a judge agrees with a verifier on the answers of a file."""

import json

import pytest

from builders.judged_rewards import judge_part, quoted, says
from builders.scripted_endpoint import endpoint
from pipeline.cli.grading import grade_answers

pytestmark = pytest.mark.usefixtures("impatient_client", "own_verdict_cache")


def graded(folder, judge, parts=("number", "rubric")):
    """What `uphill grade` says of a right and a wrong answer to each of 25 prompts."""
    with endpoint(judge) as (url, _):
        known = {"number": {"verifier": "number"}, "rubric": judge_part(url)}
        rewards = [known[name] for name in parts]
        rows = [
            {"prompt": f"{n} + 1?", "reference": f"{n + 1}", "answer": answer, "rewards": rewards}
            for n in range(25)
            for answer in (f"{n + 1}", f"{n + 7}")
        ]
        file = folder / "pairs.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return grade_answers(file, None, None, "", ())


def test_a_judge_that_cannot_tell_is_named_in_remark_and_document(tmp_path):
    found = graded(tmp_path, lambda request: says(0.5))
    assert found.document["agreement"][0]["conclusion"] == "untrustworthy"
    assert "judge rubric is UNTRUSTWORTHY: against number" in found.remarks[-1]


def test_a_judge_that_can_tell_agrees(tmp_path):
    def knows(request):
        task, answer, _ = quoted(request)
        return says(0.8 if int(task.split()[0]) + 1 == int(answer) else 0.4)

    found = graded(tmp_path, knows)
    assert found.document["faults"] == 0
    assert found.document["agreement"][0]["agreement"]["value"] == 1.0


def test_one_kind_of_reward_alone_has_no_agreement(tmp_path):
    found = graded(tmp_path, lambda request: says(0.5), parts=("rubric",))
    assert "agreement" not in found.document and not found.remarks
