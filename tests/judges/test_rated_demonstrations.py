"""A rubric judge rates a demonstration with the answer that it shows."""

from typing import Any, cast

from builders.scripted_judge import judge_session
from builders.single_prompts import prompt_of
from judges.ask import judge_prompts
from judges.backend import Choice
from judges.config import RubricJudge
from judges.rubric import Rubric, rated
from prompts.parts import NOT_GRADED


class ByLength:
    """Finds examples with long answers hard; counts what it is asked."""

    asked = 0

    def choose(self, questions):
        self.asked += len(questions)
        hard = ["zzzz" in question.messages[0]["content"] for question in questions]
        weights = [{"1": 1.0 - one, "2": 0.0, "3": float(one)} for one in hard]
        return [Choice(one, "Rating", 1, None) for one in weights]


def shown(id, answer, verifier=NOT_GRADED):
    return prompt_of(id, "say it", answer, verifier=verifier)


def test_the_question_holds_the_shown_answer_and_of_a_prompt_it_does_not():
    asked = rated(shown("a", "zzzz"))[0]["content"]
    assert "say it" in asked and "zzzz" in asked and "answer that a language model" in asked
    assert "zzzz" not in rated(shown("a", "zzzz", "exact"))[0]["content"]


def test_examples_of_one_question_are_rated_apart(tmp_path):
    judge = Rubric(RubricJudge(kind="rubric", model="m"), cast(Any, ByLength()))
    prompts = [shown("easy", "a"), shown("hard", "zzzz"), shown("prompt", "zzzz", "exact")]
    verdicts = judge_prompts(prompts, judge, judge_session(tmp_path)).verdicts
    assert [verdict.ease for verdict in verdicts] == [1.0, 0.0, 1.0]
