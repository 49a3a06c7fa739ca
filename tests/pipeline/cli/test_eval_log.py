"""`uphill eval-log`: evaluations in the forms of lm-eval and inspect, without their packages."""

import json

import pytest

from builders.single_prompts import prompt_of
from evals.answer import Answer
from evals.figures import summaries
from evals.harness.as_inspect import eval_log
from evals.harness.as_lm_eval import results_document, sample_lines
from evals.harness.stored import Evaluated, Sample, StoredSuite

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e\ud800"
EVALUATED = Evaluated("run:rl", "2026-01-02T03:04:05+00:00", "f" * 64, {"python": "3.11"})


def answer(id, correct, fault=None, **fields):
    return Answer("sums", id, "c", correct, fault, "4", "4", HOSTILE, 7, "length", **fields)


@pytest.fixture
def suite():
    answers = [answer(f"p{n}", n % 3 == 0, "timeout" if n == 4 else None) for n in range(9)]
    prompts = {one.id: prompt_of(one.id, f"What is {one.id}?", "4") for one in answers}
    samples = [Sample(one.to_json(), prompts[one.id]) for one in answers]
    protocol = {"ask": "answers", "max_tokens": 64}
    return StoredSuite("sums", 3, "Sums.", protocol, summaries(answers), samples)


def test_results_and_samples_have_the_harnesss_form(suite):
    document = results_document(EVALUATED, [suite])
    figures, parts = document["results"]["sums"], suite.parts
    for part in ("final", "dev"):
        assert figures[f"acc,{part}"] == parts[part]["score"]
        assert 0 < figures[f"acc_stderr,{part}"] < 1
    assert document["n-samples"]["sums"] == {"original": 9, "effective": 8}
    assert document["versions"] == {"sums": 3} and document["n-shot"] == {"sums": 0}
    lines = list(sample_lines(suite))
    assert [line["doc_id"] for line in lines] == list(range(9))
    assert lines[0]["resps"] == [[HOSTILE]] and lines[0]["acc"] == 1.0
    assert "acc" not in lines[4] and (lines[4]["metrics"], lines[4]["fault"]) == ([], "timeout")
    own = [line["acc"] for line in lines if line["filter"] == "final" and "acc" in line]
    assert sum(own) / len(own) == pytest.approx(figures["acc,final"])


def test_a_log_of_inspect_has_the_scores_of_the_parts_and_every_sample(suite):
    log = eval_log(EVALUATED, suite)
    assert (log["version"], log["status"], log["eval"]["model"]) == (2, "success", "uphill/run:rl")
    scores = {one["name"]: one for one in log["results"]["scores"]}
    assert scores["dev"]["metrics"]["accuracy"]["value"] == suite.parts["dev"]["score"]
    assert sum(one["unscored_samples"] for one in scores.values()) == 1
    first, faulty = log["samples"][0], log["samples"][4]
    assert first["input"] == [{"role": "user", "content": "What is p0?"}]
    assert first["output"]["choices"][0]["stop_reason"] == "max_tokens"
    assert list(first["scores"].values()) == [{"value": "C", "answer": "4"}]
    assert faulty["scores"] == {} and faulty["metadata"]["fault"] == "timeout"
    assert first["messages"][-1]["content"] == HOSTILE and json.dumps(log)
