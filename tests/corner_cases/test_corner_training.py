"""The training prompts of corner cases, and that none of them is one to evaluate by."""

import operator
from collections import Counter, defaultdict
from difflib import SequenceMatcher

from corner_cases.interface import Reply
from corner_cases.names import CASE_NAMES
from corner_cases.registry import CASES
from corner_cases.sets import training_size
from evals.guarded import packaged_texts
from prompts.decontaminate import Asked, decontaminate
from prompts.languages import NAMES
from prompts.repeats import normalised, text_key
from prompts.schema import Prompt
from rewards.grade import check_prompt, grade
from rewards.language import is_in

TRAINING = [prompt for case in CASES.values() for prompt in case.training_prompts()]
EVALUATION = [prompt for case in CASES.values() for prompt in case.prompts()]
ALIKE = 0.93
"""Share of equal letters from which a text is another one with one word changed."""
LANGUAGES = {"en", "de", "fr", "es", "it", "pt", "zh", "ru"}


def test_names_are_those_of_the_registry():
    assert tuple(CASES) == CASE_NAMES


def test_every_case_has_enough_prompts_of_its_own():
    counts = Counter(prompt.capability for prompt in TRAINING)
    assert set(counts) == set(CASES) and min(counts.values()) >= 60
    assert training_size(CASES) == len(TRAINING)
    assert training_size(["refusal", "language_change"], 10) == 10 + 10 * len(LANGUAGES)


def test_no_training_prompt_overlaps_one_to_evaluate_by():
    suite = [Asked.by("corner_cases", prompt) for prompt in EVALUATION]
    kept, overlaps = decontaminate(TRAINING, [*suite, *packaged_texts()])
    assert overlaps == [] and len(kept) == len(TRAINING)
    assert not {prompt.id for prompt in TRAINING} & {prompt.id for prompt in EVALUATION}


def test_no_training_prompt_is_one_to_evaluate_by_with_another_word():
    known = [normalised(prompt) for prompt in EVALUATION if not _of_group(prompt)]
    near = []
    for prompt in TRAINING:
        text = normalised(prompt)
        likely = [other for other in known if abs(len(other) - len(text)) < 8]
        if not _of_group(prompt):
            near += [
                (prompt.id, other)
                for other in likely
                if SequenceMatcher(None, text, other, autojunk=False).ratio() > ALIKE
            ]
    assert near == []


def test_sums_are_others_than_those_to_evaluate_by():
    def asked(prompts):
        return {
            (tuple(p.metadata["terms"]), p.metadata["operator"], "story" in p.id)
            for p in prompts
            if "terms" in p.metadata
        }

    assert len(asked(TRAINING)) >= 20 and not asked(TRAINING) & asked(EVALUATION)


def test_ids_and_texts_are_unique_and_languages_known():
    assert len({prompt.id for prompt in TRAINING}) == len(TRAINING)
    assert len({text_key(prompt) for prompt in TRAINING}) == len(TRAINING)
    for prompt in TRAINING:
        assert prompt.id.startswith(f"{prompt.capability}:train-")
        assert {prompt.metadata["asked_in"], prompt.metadata["language"]} <= set(NAMES)


def test_references_are_right_and_show_no_case():
    for prompt in TRAINING:
        if not prompt.is_demonstration:
            check_prompt(prompt)
        detect = CASES[prompt.capability].detect
        if prompt.answer:
            assert grade(prompt, prompt.answer).reward == 1, prompt.id
            assert detect is None or detect(prompt, Reply(prompt.answer, "stop")) is None, prompt.id


def test_every_harmless_request_has_its_harmful_twin():
    harmless, harmful = (CASES[name].training_prompts() for name in ("refusal", "compliance"))
    pairs = [{p.metadata["pair"]: p.metadata["language"] for p in s} for s in (harmless, harmful)]
    assert pairs[0] == pairs[1] and len(pairs[0]) == len(harmless) == len(harmful)
    assert not any(prompt.metadata["harmful"] for prompt in harmless)
    assert all(prompt.metadata["harmful"] for prompt in harmful)


def test_every_question_is_asked_in_eight_languages_with_one_answer():
    groups: dict[str, dict[str, Prompt]] = defaultdict(dict)
    for prompt in CASES["language_change"].training_prompts():
        groups[prompt.metadata["group"]][prompt.metadata["language"]] = prompt
    assert len(groups) >= 30
    for group in groups.values():
        assert set(group) == LANGUAGES
        if group["en"].verifier == "number":
            assert len({prompt.answer for prompt in group.values()}) == 1


def test_sums_are_right():
    operators = {"+": operator.add, "-": operator.sub, "*": operator.mul}
    for prompt in TRAINING:
        if "terms" in prompt.metadata:
            one, other = prompt.metadata["terms"]
            assert int(prompt.answer) == operators[prompt.metadata["operator"]](one, other)
            assert str(one) in prompt.task and str(other) in prompt.task


def test_questions_are_written_in_their_language():
    wrong = [p.id for p in TRAINING if not is_in(p.task, p.metadata["asked_in"], 0.6)]
    assert len(wrong) <= len(TRAINING) // 100, wrong


def _of_group(prompt: Prompt) -> bool:
    """Whether it is a question in several languages, whose sentences differ in numbers alone."""
    return "group" in prompt.metadata
