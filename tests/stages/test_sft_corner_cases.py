"""Probes of an SFT on the suite of corner cases: which answers are graded and compared, and what
counts."""

from dataclasses import replace

from builders.contexts import stage_context
from builders.corner_evaluations import LOOP, of_case, question
from builders.engine_double import EngineDouble
from rewards.grader import Grader
from rollouts.interface import Rollout
from stages.sft.probes import Prober
from stages.sft.stop_when import StopWhen

QUESTION = question("sum-01")  # 3 plus 4 in eight languages
KEY = "language_change/group:sum-01"


class Says(EngineDouble):
    """Says to each prompt what `replies` has for its text, one after the other; a token a
    character."""

    def __init__(self, replies):
        self.replies = replies

    def encode(self, messages):
        return [ord(letter) for letter in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        texts = [self.replies["".join(map(chr, tokens))] for tokens in prompts]
        assert all(len(of) == samples for of in texts)
        return [[Rollout([1] * len(t), [-1.0] * len(t), t, "stop") for t in of] for of in texts]


def probed(tmp_path, prompts, replies):
    """The figures of a probe with two answers to each prompt, which says what `replies` has for its
    id, or else what is right; and the notes."""
    settings = StopWhen.model_validate(
        {"suite": "corner_cases", "samples": 2, "k": 1, "max_tokens": 64}
    )
    texts = {p.task: replies.get(p.id, [p.answer or "Yes."] * 2) for p in prompts}
    notes: list[str] = []
    context = stage_context(tmp_path, note=notes.append)
    with Grader() as grader:
        prober = Prober(settings, prompts, Says(texts), grader, context)
        return prober.measure(1, 9, tell=True), notes


def test_a_reply_is_right_that_is_clean(tmp_path):
    one, other = of_case("repetition", 2)
    found, notes = probed(tmp_path, [one, other], {one.id: [LOOP, "Yes."]})
    assert found["correct"] == {one.id: 1, other.id: 2} and found["pass_at_1"] == 0.75
    assert (found["prompts"], found["faults"], found["format"], notes) == (2, 0, 1.0, [])


def test_the_nth_answers_to_a_question_are_compared_and_it_counts_once(tmp_path):
    alone = of_case("repetition", 1)
    # The second answers are wrong in one language, the first ones of another question in all.
    other = question("sum-02")
    replies = {QUESTION[3].id: ["7", "8"], **{p.id: ["99", p.answer] for p in other}}
    found, _ = probed(tmp_path, [*QUESTION, *alone, *other], replies)
    assert found["correct"] == {KEY: 1, alone[0].id: 2, "language_change/group:sum-02": 2}
    assert (found["prompts"], found["pass_at_1"]) == (3, (0.5 + 1 + 1) / 3)


def test_what_has_no_room_or_no_reply_is_left_out(tmp_path):
    one, other = of_case("repetition", 2)
    long = replace(one, messages=[{"role": "user", "content": "x" * 500}])
    replies = {QUESTION[0].id: ["<think>never ending", "7"]}
    found, notes = probed(tmp_path, [long, other, *QUESTION], replies)
    # Of the first answers to the question one is missing, so that the others show nothing.
    assert found["correct"] == {other.id: 2, KEY: 1} and found["pass_at_k"] == 1.0
    assert (found["prompts"], found["faults"]) == (2, 1)
    assert notes[0].startswith("stop_when: corner_cases: 1 of 10 prompts leave no room")
    assert "are left out of the rates" in notes[0]
