"""Suites that compare how likely each option is."""

from dataclasses import dataclass, field, replace

import pytest

from builders.engine_double import EngineDouble
from builders.single_prompts import prompt_of
from common.files import write_json_lines
from evals.config import SuiteConfig
from evals.figures import summary
from evals.protocol import ask
from evals.regrade import answers as stored_answers
from evals.regrade import regrade
from evals.suites import load_suite
from rewards.grader import Grader

FILE = """\
version: 1
about: Colours.
source: ours
licence: CC0-1.0
ask: likelihood
{more}
prompts:
  - path: rows.jsonl
    fields: {{prompt: q, choices: options, answer: right}}
    list_choices: false
    verifier: exact
    capability: c
"""
QUESTION = {"A": "red", "B": "ultramarine"}


@dataclass
class Likely(EngineDouble):
    """An engine whose log-likelihood of a completion is in `table`; a token is a character, and the
    sum is spread over them."""

    table: dict
    max_model_len: int = 64
    pairs: list = field(default_factory=list)

    def encode(self, messages):
        return [ord(letter) for letter in f"<{messages[-1]['content']}>"]

    def encode_text(self, text):
        return [ord(letter) for letter in text]

    def score(self, prompts, completions, *, cached=False):
        assert cached
        texts = [
            ("".join(map(chr, one)), "".join(map(chr, other)))
            for one, other in zip(prompts, completions, strict=True)
        ]
        self.pairs += texts
        return [[self.table[other.strip()] / len(other)] * len(other) for _, other in texts]


def asked(tmp_path, engine, prompts, more=""):
    (tmp_path / "colours.yaml").write_text(FILE.format(more=more))
    config = SuiteConfig.model_validate(str(tmp_path / "colours.yaml"))
    return config, ask(engine, config, prompts, 2, lambda n: None, Grader())


def prompt(name="p", answer="red", options=QUESTION, text="Which?"):
    return replace(prompt_of(name, text, answer, verifier="exact"), metadata={"options": options})


@pytest.mark.parametrize(("more", "chosen"), [("", "ultramarine"), ("normalise: none", "red")])
def test_the_likeliest_option_is_the_answer_by_default_per_character(tmp_path, more, chosen):
    engine = Likely({"red": -3.0, "ultramarine": -5.0})  # -1.0 and -0.45 per character
    _, (answer,) = asked(tmp_path, engine, [prompt()], more)
    assert (answer.answer, answer.correct) == (chosen, chosen == "red")
    assert engine.pairs == [("Which?", " red"), ("Which?", " ultramarine")]


def test_with_the_chat_template_the_option_is_the_whole_reply(tmp_path):
    engine = Likely({"red": -3.0, "ultramarine": -5.0})
    asked(tmp_path, engine, [prompt()], "chat: true")
    assert engine.pairs == [("<Which?>", "red"), ("<Which?>", "ultramarine")]


def test_prompts_keep_their_order_and_one_without_room_counts_as_wrong(tmp_path):
    options = {"A": "red", "B": "tan", "C": "ink"}
    engine = Likely({"red": -1.0, "tan": -2.0, "ink": -3.0, "ultramarine": -99.0})
    prompts = [
        prompt("a"),
        prompt("b", "tan", options),
        prompt("c", text="x" * 64),
        prompt("d", "red", options),
    ]
    _, answers = asked(tmp_path, engine, prompts)
    assert [(a.id, a.correct, a.fault) for a in answers] == [
        ("a", True, None),
        ("b", False, None),
        ("c", False, "too_long"),
        ("d", True, None),
    ]
    assert (summary(answers)["score"], summary(answers)["n"]) == (0.5, 4)
    fits = Likely(engine.table, max_model_len=len("Which?") + len(" ultramarine") + 1)
    assert asked(tmp_path, fits, [prompt()])[1][0].fault is None
    fits.max_model_len -= 1
    assert asked(tmp_path, fits, [prompt()])[1][0].fault == "too_long"


def test_stored_answers_are_graded_again_as_they_were(tmp_path):
    rows = '{"q": "Which?", "options": ["red", "tan"], "right": "red"}\n'
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "colours.yaml").write_text(FILE.format(more=""))
    config = SuiteConfig.model_validate(str(tmp_path / "colours.yaml"))
    engine = Likely({"red": -1.0, "tan": -2.0})
    answers = ask(engine, config, load_suite(config, None), 2, lambda n: None, Grader())
    write_json_lines(tmp_path / "answers.jsonl", [one.to_json() for one in answers])
    found = regrade("eval", list(stored_answers(tmp_path, [config], None)), Grader())
    assert (found["answers"], found["changed"], answers[0].correct) == (1, 0, True)
