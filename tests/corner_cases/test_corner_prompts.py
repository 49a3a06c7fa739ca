"""The packaged prompts of corner cases."""

import operator
from collections import Counter, defaultdict

import pytest

from corner_cases.interface import Reply
from corner_cases.registry import CASES
from evals.guarded import packaged_texts
from prompts.decontaminate import decontaminate
from prompts.languages import NAMES
from prompts.schema import Prompt, read_prompts, write_prompts
from rewards.grade import check_prompt, grade
from rewards.language import is_in

PROMPTS = [prompt for case in CASES.values() for prompt in case.prompts()]
LANGUAGES = {"en", "de", "fr", "es", "it", "pt", "zh", "ru"}
OPEN = ("gushing", "repetition", "overlong", "cut_off")
AT_LEAST = {"refusal": 60, "compliance": 60, "ignored_format": 40, "wrong_language": 40}
SAID = {
    "en": "The answer is {}.",
    "de": "Das Ergebnis ist {}.",
    "fr": "La réponse est {}.",
    "es": "La respuesta es {}.",
    "it": "La risposta è {}.",
    "pt": "A resposta é {}.",
    "zh": "答案是{}。",
    "ru": "Ответ: {}.",
}
"""Sentences that must not make a right answer wrong in one language alone."""


def test_ids_and_texts_are_unique_and_cases_and_languages_known():
    assert len({prompt.id for prompt in PROMPTS}) == len(PROMPTS)
    assert len({prompt.task for prompt in PROMPTS}) == len(PROMPTS)
    for prompt in PROMPTS:
        assert prompt.id.startswith(f"{prompt.capability}:") and prompt.capability in CASES
        assert {prompt.metadata["asked_in"], prompt.metadata["language"]} <= set(NAMES)


def test_there_are_enough_prompts_of_every_case():
    counts = Counter(prompt.capability for prompt in PROMPTS)
    assert set(counts) == set(CASES) and sum(counts[name] for name in OPEN) >= 60
    assert all(counts[name] >= least for name, least in AT_LEAST.items())
    asked = [p for p in CASES["wrong_language"].prompts() if len(set(_languages(p))) == 2]
    assert len(asked) >= 40


def test_every_verifier_accepts_its_reference():
    for prompt in PROMPTS:
        if not prompt.is_demonstration:
            check_prompt(prompt)
        if prompt.answer:
            assert grade(prompt, prompt.answer).reward == 1, prompt.id


def test_no_detector_finds_its_case_in_a_reference():
    for prompt in PROMPTS:
        detect = CASES[prompt.capability].detect
        if detect is not None and prompt.answer:
            assert detect(prompt, Reply(prompt.answer, "stop")) is None, prompt.id


def test_every_harmless_request_has_its_harmful_one_in_the_same_language():
    harmless, harmful = (CASES[name].prompts() for name in ("refusal", "compliance"))
    pairs = [{p.metadata["pair"]: p.metadata["language"] for p in s} for s in (harmless, harmful)]
    assert pairs[0] == pairs[1] and len(pairs[0]) == len(harmless) == len(harmful)
    assert not any(prompt.metadata["harmful"] for prompt in harmless)
    assert all(prompt.metadata["harmful"] for prompt in harmful)


def _groups():
    groups: dict[str, dict[str, Prompt]] = defaultdict(dict)
    for prompt in CASES["language_change"].prompts():
        groups[prompt.metadata["group"]][prompt.metadata["language"]] = prompt
    return groups


def test_every_sum_and_fact_is_asked_in_eight_languages():
    groups = _groups()
    assert len(groups) >= 40
    assert all(set(group) == LANGUAGES for group in groups.values())
    numbers = [g for g in groups.values() if g["en"].verifier == "number"]
    assert all(len({prompt.answer for prompt in group.values()}) == 1 for group in numbers)


def test_sums_are_right_small_and_have_their_terms():
    operators = {"+": operator.add, "-": operator.sub, "*": operator.mul}
    sums = [p for p in CASES["language_change"].prompts() if "terms" in p.metadata]
    assert len(sums) >= 20 * len(LANGUAGES)
    for prompt in sums:
        one, other = prompt.metadata["terms"]
        assert int(prompt.answer) == operators[prompt.metadata["operator"]](one, other)
        assert 0 < one < 100 and 0 < other < 100 and 0 < int(prompt.answer) < 100
        assert str(one) in prompt.task and str(other) in prompt.task


@pytest.mark.parametrize("language", SAID)
def test_a_number_in_a_sentence_is_right_in_every_language(language):
    for group in _groups().values():
        prompt = group[language]
        if prompt.verifier == "number":
            assert grade(prompt, SAID[language].format(prompt.answer)).reward == 1, prompt.id


def _languages(prompt):
    return prompt.metadata["asked_in"], prompt.metadata["language"]


def test_questions_are_written_in_their_language():
    wrong = [p.id for p in PROMPTS if not is_in(p.task, p.metadata["asked_in"], 0.6)]
    assert len(wrong) <= len(PROMPTS) // 100, wrong


def test_no_prompt_overlaps_another_packaged_suite():
    others = [asked for asked in packaged_texts() if asked.suite != "corner_cases"]
    kept, overlaps = decontaminate(PROMPTS, others)
    assert overlaps == [] and len(kept) == len(PROMPTS)


def test_prompts_pass_through_a_prompts_file(tmp_path):
    write_prompts(tmp_path / "prompts.parquet", PROMPTS)
    assert read_prompts(tmp_path / "prompts.parquet") == PROMPTS
