"""Corner cases before and after: differences over questions, and the direction that is better."""

import pytest

from builders.contexts import stage_context
from builders.corner_evaluations import LOOP, NO, asked, of_case, question
from builders.evaluations import ScriptedAnswers
from common.files import write_json, write_json_lines
from evals.compare import Evaluation, compare_rows
from evals.figures import summaries
from evals.gate import verdict
from evals.gate_config import GateConfig
from evals.intervals import paired_difference
from evals.parts import FINAL, in_part
from evals.reading import dev_answers
from pipeline.cli.compare import compare_table
from pipeline.cli.evaluate import results_table
from pipeline.execution.progress import short
from rewards.grader import Grader
from stages.dev_prompts import dev_prompts
from stages.rl.config import RlStage
from stages.rl.dev_scores import DevScores
from stages.rl.hacking import DevPoint, hacking

REFUSALS = in_part(of_case("refusal"), FINAL)[:4]
QUESTIONS = [
    prompts
    for prompts in (question(f"sum-{n:02}") for n in range(1, 12))
    if in_part(prompts, FINAL)
][:3]
PROMPTS = [*REFUSALS, *(prompt for prompts in QUESTIONS for prompt in prompts)]


def refused(*numbers):
    return {REFUSALS[number].id: NO for number in numbers}


def changed(*numbers):
    """One language of each of these questions is answered wrong."""
    return {QUESTIONS[number][2].id: "99" for number in numbers}


def stored(folder, replies, prompts=PROMPTS):
    folder.mkdir()
    answers = asked(prompts, replies)
    write_json_lines(folder / "answers.jsonl", [answer.to_json() for answer in answers])
    write_json(folder / "results.json", {"suites": {"corner_cases": summaries(answers)}})
    return folder


@pytest.fixture
def rows(tmp_path):
    """Refusals 0, 1 and 2 and question 0 become refusal 0 and questions 0 and 1."""
    before = stored(tmp_path / "a", {**refused(0, 1, 2), **changed(0)})
    after = stored(tmp_path / "b", {**refused(0), **changed(0, 1)})
    evaluations = [Evaluation("base", None, "r", before), Evaluation("sft", "base", "r", after)]
    return {(row["stage"], row["suite"]): row for row in compare_rows(evaluations)}


def test_rows_have_the_rate_of_every_case_and_its_change(rows):
    row = rows["sft", "corner_cases/refusal"]
    assert (row["rate"], row["score"], row["n"]) == (0.25, 0.75, 4)
    # Two of four refusals are gone.
    change, low, high = paired_difference(both=1, gained=0, lost=2, neither=1)
    got = [row[f"rate_delta{end}"] for end in ("", "_low", "_high")]
    assert got == pytest.approx([change, low, high], abs=1e-9)
    assert row["rate_delta"] == -0.5 == -row["delta"] and low < -0.5 < high
    assert rows["base", "corner_cases/refusal"]["rate_delta"] is None
    assert row["dev"]["rate"] is None


def test_the_change_of_language_is_paired_over_questions(rows):
    row = rows["sft", "corner_cases/language_change"]
    assert (row["rate"], row["n"]) == (pytest.approx(2 / 3), 3)
    change, low, high = paired_difference(both=1, gained=1, lost=0, neither=1)
    got = [row[f"rate_delta{end}"] for end in ("", "_low", "_high")]
    assert got == pytest.approx([change, low, high], abs=1e-9) and row["rate_delta"] > 0


def test_the_whole_counts_questions_too(rows):
    row = rows["sft", "corner_cases"]
    assert (row["n"], row["rate"]) == (7, pytest.approx(3 / 7))
    change, low, high = paired_difference(both=2, gained=1, lost=2, neither=2)
    got = [row[f"rate_delta{end}"] for end in ("", "_low", "_high")]
    assert got == pytest.approx([change, low, high], abs=1e-9)


def test_a_question_left_out_once_is_compared_with_nothing(tmp_path):
    before = stored(tmp_path / "a", {QUESTIONS[0][3].id: "<think>"})
    after = stored(tmp_path / "b", changed(0))
    rows = compare_rows(
        [Evaluation("base", None, "r", before), Evaluation("s", "base", "r", after)]
    )
    (row,) = [r for r in rows if (r["stage"], r["suite"]) == ("s", "corner_cases/language_change")]
    assert row["rate"] == pytest.approx(1 / 3) and row["rate_delta"] == 0.0


def test_tables_show_rates_and_say_that_less_is_better(rows):
    table = compare_table(list(rows.values()), several=False)
    line = next(line for line in table if line[0].startswith("corner_cases/refusal"))
    assert line[:2] == ["corner_cases/refusal: rate, lower is better", "4"]
    assert line[2].startswith("75.0 [") and line[3].startswith("25.0 [")
    assert line[3].endswith(" -50.0")


def test_eval_shows_every_case(tmp_path):
    answers = asked(PROMPTS, refused(0))
    table = results_table({"suites": {"corner_cases": summaries(answers)}})
    assert [line[:2] for line in table[1:]] == [
        ["corner_cases: rate, lower is better", "7"],
        ["corner_cases/language_change: rate, lower is better", "3"],
        ["corner_cases/refusal: rate, lower is better", "4"],
    ]
    assert table[3][2].startswith("25.0 [")


def test_lines_about_a_stage_name_the_rate():
    figures = {"held_out": {"score": 0.5}, "corner_cases": {"rate": 0.25, "score": 0.75}}
    assert short(figures) == "held_out 0.5, corner_cases rate 0.25"


def test_a_gate_reads_the_share_of_clean_replies(tmp_path):
    prompts = of_case("repetition")
    clean = dev_answers(stored(tmp_path / "a", {}, prompts))
    loops = dev_answers(stored(tmp_path / "b", {p.id: LOOP for p in prompts}, prompts))
    gate = GateConfig(suite="corner_cases", max_drop=0.1)
    assert verdict(gate, "dpo", clean, "rl", loops).passed
    said = verdict(gate, "dpo", loops, "rl", clean)
    assert not said.passed
    assert "corner_cases (share of clean replies) went from 1" in said.message


def test_rl_says_what_its_score_is():
    points = [
        DevPoint(step, {str(n): n < right for n in range(100)})
        for step, right in ((10, 90), (20, 40))
    ]
    told = hacking(points, {step: step / 20 for step in range(1, 21)}, "corner_cases")
    assert told is not None
    assert "the dev score on corner_cases (share of clean replies) fell from 0.90" in told


def test_rl_pairs_its_evaluations_over_questions(tmp_path):
    own = {"every": 5, "suite": "corner_cases", "cases": ["language_change"], "limit": 16}
    values = {"id": "rl", "kind": "rl", "from": "s", "on": "p", "learning_rate": 1e-4, "steps": 9}
    config = RlStage.model_validate({**values, "evaluate": own})
    assert config.evaluate is not None
    prompts = dev_prompts(config.evaluate, "evaluate", None)
    texts = {prompt.task: prompt.answer for prompt in prompts}
    texts[prompts[3].task] = "99"
    engine, context = ScriptedAnswers(texts, 500), stage_context(tmp_path, note=lambda note: None)
    row = DevScores(config, prompts, engine, Grader(), context).evaluate(5)
    assert (row["n"], row["score"], row["rate"]) == (2, 0.5, 0.5)
    assert sorted(row["answers"].values()) == [False, True]
