"""Judges that rate and compare."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scripted_judge import PROMPTS, ScriptedEngine, judge_session
from common.errors import BadInput, RunFailed
from judges.ask import judge_prompts
from judges.backend import Choice
from judges.config import PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from judges.pairwise import Pairwise, bradley_terry, position_bias, tournament
from judges.rubric import Rubric
from rollouts.interface import Rollout


class LongContextEngine(ScriptedEngine):
    max_model_len = 4096


def test_a_rating_is_the_mean_over_the_probabilities_of_its_digits(tmp_path):
    class FixedRating(LongContextEngine):
        def next_token(self, prompts, tokens):
            return [list(np.log([0.5, 0.25, 0.25])) for _ in prompts]

        def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
            return [[Rollout([1, 2], [0.0, 0.0], " as I say so", "stop")] for _ in prompts]

    judge = Rubric(RubricJudge(kind="rubric", model="m"), EngineBackend(FixedRating()))
    (verdict, *_) = judge_prompts(PROMPTS, judge, judge_session(tmp_path)).verdicts
    assert verdict.replies[0].value == pytest.approx(1.75) and verdict.ease == pytest.approx(
        1 - 0.75 / 2
    )
    assert (
        verdict.replies[0].text == "Rating: 1\nReason: as I say so"
        and verdict.replies[0].answer == "1"
    )


def test_an_unreadable_rating_is_asked_again_and_never_a_score(tmp_path):
    class Unreadable:
        asked = 0

        def choose(self, questions):
            Unreadable.asked += len(questions)
            return [Choice(None, "well", 3, "unreadable") for _ in questions]

    judge = Rubric(RubricJudge(kind="rubric", model="m", retries=2), cast(Any, Unreadable()))
    with pytest.raises(
        RunFailed, match="not one of 10 prompts could be judged: unreadable 30 times"
    ):
        judge_prompts(PROMPTS, judge, judge_session(tmp_path))
    assert Unreadable.asked == 30


def test_comparisons_in_both_orders_cancel_position_bias(tmp_path):
    class FavoursFirst:
        """Finds the task with the larger number harder, with a bias to the first one."""

        def choose(self, questions):
            choices = []
            for question in questions:
                lines = question.messages[0]["content"].split("\n")
                one, other = (float(line[5:]) for line in lines if line.startswith("say p"))
                p = 1 / (1 + np.exp(-(one - other) / 3 - 1))
                choices.append(Choice({"A": p, "B": 1 - p}, "A", 1))
            return choices

    config = PairwiseJudge(kind="pairwise", model="m", opponents=4)
    judge = Pairwise(config, cast(Any, FavoursFirst()))
    verdicts = judge_prompts(PROMPTS, judge, judge_session(tmp_path)).verdicts
    eases = {verdict.id: verdict.ease or 0.0 for verdict in verdicts}
    assert sorted(eases, key=lambda id: -eases[id]) == [prompt.id for prompt in PROMPTS]
    bias = position_bias(verdicts)
    assert bias is not None and 0.1 < bias < 0.3
    assert all(verdict.graded >= 8 for verdict in verdicts)


def test_a_pairwise_judge_needs_a_pair(tmp_path):
    judge = Pairwise(PairwiseJudge(kind="pairwise", model="m"), EngineBackend(ScriptedEngine()))
    with pytest.raises(BadInput, match="compares prompts, and there are 1"):
        judge_prompts(PROMPTS[:1], judge, judge_session(tmp_path))


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 9))
def test_a_tournament_gives_everyone_opponents_and_a_larger_pool_keeps_most_of_it(
    count, opponents, seed
):
    texts = [f"task {n}" for n in range(count)]
    pairs = tournament(texts, opponents, seed)
    met = {place: {a + b - place for a, b in pairs if place in (a, b)} for place in range(count)}
    assert all(a < b for a, b in pairs) and len(set(pairs)) == len(pairs)
    assert all(len(others) >= min(opponents, count - 1) for others in met.values())
    more = set(tournament([*texts, "one more"], opponents, seed))
    assert len(set(pairs) - more) <= count


def test_bradley_terry_recovers_strengths_from_many_comparisons():
    true = np.array([-1.0, 0.0, 1.0])
    outcomes = [
        (a, b, 1 / (1 + np.exp(true[b] - true[a]))) for a in range(3) for b in range(3) if a != b
    ] * 50
    assert bradley_terry(3, outcomes) == pytest.approx(true, abs=0.02)
    assert not bradley_terry(4, []).any()


def test_a_tokenizer_without_single_tokens_for_the_labels_is_refused(tmp_path):
    class SeveralTokens(LongContextEngine):
        def encode_text(self, text):
            return list((text + text[-1] * int("2" in text)).encode())

    judge = Rubric(RubricJudge(kind="rubric", model="m"), EngineBackend(SeveralTokens()))
    with pytest.raises(BadInput, match="no single token for each of 1, 2, 3"):
        judge_prompts(PROMPTS, judge, judge_session(tmp_path))
