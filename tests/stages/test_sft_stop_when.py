"""What a probe measures of sampled answers, and what a recipe with `stop_when` plans."""

from math import log
from typing import Any

import pytest

from builders.engine_double import EngineDouble
from builders.given_grades import GivenGrades
from builders.single_prompts import prompt_of
from common.execution import ExecutionConfig
from evals.asking import Asked, Sampling, ask_all
from models.config import ModelConfig
from models.memory import engine_memory, weight_bytes
from models.sizes import dimensions_of
from rewards.grader import Grade
from rollouts.interface import Rollout
from stages.declaration import Sizes
from stages.sft.config import SftStage
from stages.sft.probe_figures import figures
from stages.sft.stop_when import StopWhen

STAGE = {"id": "sft", "kind": "sft", "on": "prompts", "learning_rate": 1e-4, "batch_size": 8}
PLAIN = SftStage.model_validate({**STAGE, "limit": 100, "epochs": 2})
PROBED = SftStage.model_validate(
    {**STAGE, "limit": 100, "epochs": 2}
    | {"stop_when": {"every": 10, "limit": 20, "samples": 4, "max_tokens": 6}}
)
SIZES = Sizes({"prompts": 500}, held_out=12)


def rollout(tokens, finish="stop", logprob=-1.0):
    return Rollout([5] * tokens, [logprob] * tokens, "text", finish)


def group(id, *answers, fault=None):
    """A prompt; each answer is (tokens, finish, reward or fault, what was read)."""
    rollouts = [rollout(tokens, finish) for tokens, finish, _, _ in answers]
    grades = [
        Grade(0.0, result, None) if isinstance(result, str) else Grade(result, None, read)
        for _, _, result, read in answers
    ]
    return Asked(prompt_of(id, id), fault, rollouts, grades)


RIGHT, WRONG = (2, "stop", 1.0, "a"), (3, "stop", 0.0, "b")


def test_a_probe_counts_what_was_answered():
    asked = [group("a", RIGHT, RIGHT, WRONG, WRONG), group("b", WRONG, WRONG, WRONG, WRONG)]
    four = figures(asked, StopWhen(samples=4))
    assert (four["pass_at_k"], four["pass_at_1"], four["format"]) == (0.5, 0.25, 1.0)
    assert (four["k"], four["prompts"], four["faults"]) == (4, 2, 0)
    assert four["correct"] == {"a": 2, "b": 0} and four["tokens"] == 2 * 2 + 6 * 3
    two = figures(asked, StopWhen(samples=4, k=2))
    assert two["pass_at_k"] == pytest.approx((1 - 1 / 6) / 2) and two["pass_at_1"] == 0.25
    one = figures(asked, StopWhen(samples=4, k=1))
    assert one["pass_at_k"] == one["pass_at_1"] == 0.25


def test_an_answer_has_form_that_ended_and_that_the_verifier_could_read():
    answers = [
        RIGHT,
        (4, "length", 1.0, "a"),  # cut off
        (1, "stop", 0.0, " "),  # nothing was read
        (1, "stop", "cut_off", None),  # thinking without an end
        (1, "stop", 0.0, None),  # of a verifier that reads nothing in particular
    ]
    found = figures([group("a", *answers)], StopWhen(samples=5))
    assert found["format"] == 2 / 5 and found["pass_at_1"] == 2 / 5


def test_what_could_not_be_graded_counts_for_nothing_and_a_long_prompt_is_solved_by_no_answer():
    crashed = (1, "stop", "verifier_crash", None)
    asked = [
        group("a", RIGHT, crashed),
        group("b", crashed, crashed),
        group("c", fault="too_long"),
        group("d", fault="not_encoded"),
    ]
    found = figures(asked, StopWhen(samples=2, k=1))
    assert found["correct"] == {"a": 1, "c": 0} and (found["pass_at_k"], found["format"]) == (
        0.5,
        1,
    )
    assert (found["prompts"], found["faults"]) == (2, 2)
    # Of one graded answer there is no pass@2.
    assert figures(asked, StopWhen(samples=2))["correct"] == {"c": 0}
    nothing = figures([group("d", fault="not_encoded")], StopWhen())
    assert [nothing[name] for name in ("pass_at_k", "pass_at_1", "entropy", "format")] == [None] * 4


def test_the_entropy_is_the_mean_surprise_of_all_tokens():
    asked = [
        Asked(prompt_of("a", "a"), None, [rollout(1, logprob=log(0.5)), rollout(3, logprob=0.0)])
    ]
    asked[0] = Asked(asked[0].prompt, None, asked[0].rollouts, [Grade(1.0, None, "a")] * 2)
    assert figures(asked, StopWhen(samples=2))["entropy"] == pytest.approx(log(2) / 4)


class Echo(EngineDouble):
    """Answers with the prompt, its seed and the number of the sample."""

    max_model_len = 8

    def encode(self, messages):
        return [ord(letter) for letter in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        assert (temperature, max_tokens) == (1.0, 3)
        return [
            [Rollout([1], [0.0], f"{chr(p[0])}{seed}{n}", "stop") for n in range(samples)]
            for p, seed in zip(prompts, seeds, strict=True)
        ]


def test_several_answers_are_asked_of_each_prompt_in_its_place():
    prompts = [prompt_of(name, text) for name, text in (("p", "x"), ("q", "too long"), ("r", "y"))]
    grader = GivenGrades(lambda prompt, text: Grade(1.0, None, f"{prompt.id}:{text}"))
    sampling = Sampling(2, 1.0, lambda prompt: ord(prompt.id))
    counts: list[int] = []
    asked = ask_all(Echo(), prompts, 3, 2, counts.append, grader, sampling)
    assert counts == [2, 1] and [one.fault for one in asked] == [None, "too_long", None]
    read = [[grade.answer for grade in one.grades] for one in asked]
    assert read == [["p:x1120", "p:x1121"], [], ["r:y1140", "r:y1141"]]


def test_the_plan_knows_what_probes_take():
    assert PLAIN.bounds(SIZES) == {"sequences_at_most": 200}
    # 26 steps are probed at 10, 20 and 26; 12 prompts are held out.
    probed = {"sequences_at_most": 200, "tokens_generated_at_most": 3 * 12 * 4 * 6}
    assert PROBED.bounds(SIZES) == probed
    assert PROBED.bounds(Sizes())["tokens_generated_at_most"] == 3 * 20 * 4 * 6
    public = PROBED.model_copy(update={"stop_when": StopWhen(suite="gsm8k", limit=None)})
    assert public.bounds(SIZES)["tokens_generated_at_most"] is None
    assert [set(one.needs()) for one in (PLAIN, PROBED, public)] == [
        {"checkpoint", "prompts"},
        {"checkpoint", "prompts", "held_out"},
        {"checkpoint", "prompts"},
    ]
    nano: Any = dimensions_of(ModelConfig(preset="nano"))
    execution = ExecutionConfig(max_num_seqs=16)
    engine = engine_memory(nano, "float32", 16 * 512)
    plain, more = (one.memory(nano, execution) for one in (PLAIN, PROBED))
    assert plain is not None and more == plain + engine
    few, many = PLAIN.disk(nano), PROBED.disk(nano)
    assert few and many and many.at_work == few.at_work + 4 * weight_bytes(nano)


def test_an_engine_is_declared_only_where_probes_need_one():
    assert not PLAIN.grades_answers() and PROBED.grades_answers()
    assert not list(PLAIN.engines()) and len(list(PROBED.engines())) == 1
    new = set(PROBED.execution_settings()) - set(PLAIN.execution_settings())
    assert new == {"max_num_seqs", "kv_cache_gib", "devices.engine"}
    assert [a.file for a in set(PROBED.outputs()) - set(PLAIN.outputs())] == ["probes.jsonl"]
    assert [q.asks for q in PROBED.questions("stages[0]", 1)] == ["learn", "suite"]
    two: Any = {"processes": 2, "sharding": "ddp"}
    inside = ExecutionConfig.model_validate({"devices": two})
    served = ExecutionConfig.model_validate({"devices": {**two, "engine": {"kind": "server"}}})
    assert not list(PLAIN.execution_objections(inside))
    (objection,) = PROBED.execution_objections(inside)
    assert "2 training processes, and the rollout engine is in one" in objection.message
    assert not list(PROBED.execution_objections(served))
