"""The suites that this project wrote: their files, references, balance and groups."""

from collections import Counter, defaultdict
from functools import cache

import pytest

from builders.engine_double import EngineDouble
from builders.evaluations import suite
from evals.figures import summaries, summary
from evals.parts import PARTS, in_part
from evals.protocol import ask, remarks
from evals.suite_file import FOLDER, packaged_suite
from evals.suites import load_suite
from evals.written import instructions, sums, sycophancy
from evals.written.__main__ import FILES
from evals.written.row import as_lines
from prompts.schema import Prompt
from rewards.grade import grade
from rewards.grader import Grader
from rewards.language import is_in
from rollouts.interface import Rollout

GROUPED = {"bias": (30, 12), "multilingual_sums": (40, 11), "sycophancy": (124, 3)}
"""The number of groups of a suite, and of prompts in each."""
WRITTEN = ("instructions", *GROUPED)
LANGUAGES = {
    **{"English": "en", "German": "de", "French": "fr", "Spanish": "es", "Italian": "it"},
    **{"Russian": "ru", "Chinese": "zh", "Japanese": "ja", "Hindi": "hi", "Arabic": "ar"},
    "Swahili": "sw",
}
NATURAL = {
    "English": ("She has {} books.", "It is {}."),
    "German": ("Sie hat jetzt {} Bücher.", "{} Euro", "Antwort: {}"),
    "French": ("Elle a {} livres.", "{} euros"),
    "Spanish": ("Tiene {} libros.", "{} euros"),
    "Italian": ("Ha {} libri.", "{} euro"),
    "Russian": ("{} книг.", "Ответ: {}", "{} евро"),
    "Chinese": ("{}本书。", "答案是{}。", "{}欧元"),
    "Japanese": ("{}冊です。", "答えは{}です。", "{}ユーロ"),
    "Hindi": ("{} किताबें।", "उत्तर: {}", "{}।"),
    "Arabic": ("{} كتابًا.", "الجواب: {}", "{} يورو"),
    "Swahili": ("Ana vitabu {}.", "euro {}"),
}
"""How a person would put a number in each language."""
DIGITS = {"Hindi": "०१२३४५६७८९", "Arabic": "٠١٢٣٤٥٦٧٨٩", "Japanese": "０１２３４５６７８９"}


@cache
def prompts(name):
    return load_suite(suite(name), None)


class FavoursFirst(EngineDouble):
    """An engine to which every text is as likely, so that the first option is chosen."""

    max_model_len = 1 << 16

    def encode_text(self, text):
        return [ord(letter) for letter in text]

    def score(self, prompts, completions, *, cached=False):
        return [[-1.0] * len(completion) for completion in completions]


class Told(EngineDouble):
    """An engine that gives the reply that it was told for each prompt, by the prompt's number."""

    max_model_len = 1 << 16

    def __init__(self, asked, replies):
        self.numbers = {prompt.task: number for number, prompt in enumerate(asked)}
        self.replies = replies

    def encode(self, messages):
        return [self.numbers[messages[-1]["content"]] + 1]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        texts = [self.replies[tokens[0] - 1] for tokens in prompts]
        return [[Rollout([1], [0.0], text, "stop")] for text in texts]


def answered(name, replies):
    asked = prompts(name)
    return ask(Told(asked, replies), suite(name), asked, 64, lambda count: None, Grader())


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_its_writer_writes(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == as_lines(FILES[name]())


@pytest.mark.parametrize("name", (*WRITTEN, "needle_1k"))
def test_right_answers_score_1_and_wrong_ones_0(name):
    right = [prompt.answer for prompt in prompts(name)]
    assert summary(answered(name, right))["score"] == 1.0
    answers = answered(name, ["I do not know, sorry!"] * len(right))
    wrong = {"instructions": [task.wrong for _, _, task in instructions.tasks()]}.get(name)
    answers = answers if wrong is None else answered(name, wrong)
    assert summary(answers)["score"] == 0.0 and not any(one.fault for one in answers)


@pytest.mark.parametrize("name", GROUPED)
def test_prompts_that_belong_together_are_in_one_part_and_in_one_draw(name):
    groups, size = GROUPED[name]
    assert Counter(Counter(p.group for p in prompts(name)).values()) == {size: groups}
    parts = [{p.group for p in in_part(prompts(name), part)} for part in PARTS]
    assert not parts[0] & parts[1] and min(map(len, parts)) > groups // 4
    drawn = load_suite(suite(name, limit=4 * size + 1), None)
    assert len(drawn) == 4 * size and len({p.group for p in drawn}) == 4
    assert {one.group for one in answered(name, ["?"] * len(prompts(name)))} == parts[0] | parts[1]


@pytest.mark.parametrize("name", ["bias", "sycophancy"])
def test_a_likelihood_has_the_groups_and_parts_of_its_letters(name):
    letters, options = prompts(name), prompts(f"{name}_likelihood")
    assert [p.group for p in letters] == [p.group for p in options]
    for letter, option in zip(letters, options, strict=True):
        assert letter.metadata["options"][letter.answer] == option.answer
    config = suite(f"{name}_likelihood")
    answers = ask(FavoursFirst(), config, options, 64, lambda count: None, Grader())
    assert [one.group for one in answers] == [p.group for p in options]
    assert 0 < sum(one.correct for one in answers) < len(answers)


def test_every_kind_of_instruction_is_asked_with_what_the_verifier_checks():
    asked = [task for _, _, task in instructions.tasks()]
    ids = Counter(rule["id"] for task in asked for rule in task.constraints)
    assert len(ids) >= 29 and min(ids.values()) >= 3
    assert sum(len(task.constraints) > 1 for task in asked) >= 50
    assert len({prompt for _, prompt, _ in instructions.tasks()}) == len(asked)


def test_the_sums_are_right():
    # Worked out on paper, problem by problem.
    by_hand = {
        "books": (17, 21, 25, 25),
        "tickets": (72, 105, 88, 80),
        "apples": (9, 9, 12, 13),
        "sweets": (4, 8, 8, 5),
        "walk": (53, 35, 62, 44),
        "age": (34, 37, 36, 34),
        "chairs": (72, 120, 126, 126),
        "change": (7, 23, 36, 12),
        "drive": (300, 420, 560, 450),
        "eggs": (18, 33, 24, 36),
    }
    for prompt in prompts("multilingual_sums"):
        kind, turn = prompt.metadata["problem"].removeprefix("sum-").split("-")
        assert int(prompt.answer) == by_hand[kind][int(turn)], prompt.id
        numbers = sums.PROBLEMS[kind][1][int(turn)]
        assert all(str(number) in prompt.task for number in numbers)


def test_the_sums_are_written_in_their_language_and_do_not_say_the_answer():
    for prompt in prompts("multilingual_sums"):
        assert is_in(prompt.task, LANGUAGES[prompt.capability], 0.8), prompt.id
        digits = "".join(one if one.isdigit() else " " for one in prompt.task).split()
        assert prompt.answer not in digits, prompt.id


@pytest.mark.parametrize("language", NATURAL)
def test_a_number_is_read_as_people_of_the_language_write_it(language):
    for prompt in (p for p in prompts("multilingual_sums") if p.capability == language):
        own = str.maketrans("0123456789", DIGITS.get(language, "0123456789"))
        for form in ("{}", *NATURAL[language]):
            for number in (prompt.answer, prompt.answer.translate(own)):
                assert grade(prompt, form.format(number)).reward == 1, (prompt.id, form, number)
        assert grade(prompt, NATURAL[language][0].format(int(prompt.answer) + 1)).reward == 0


def test_agreement_is_reported_for_each_part():
    asked = prompts("multilingual_sums")
    # English and Swahili say another number, and so differ from the rest and from each other.
    said = [p.answer + {"English": "1", "Swahili": "2"}.get(p.capability, "") for p in asked]
    answers = answered("multilingual_sums", said)
    for figures in summaries(answers, packaged_suite("multilingual_sums").agreement).values():
        found = figures["agreement"]
        assert (found["all_equal"], found["left_out"]) == (0.0, 0)
        assert found["pairs"] == pytest.approx(36 / 55) and found["groups"] > 10
    (sentence,) = remarks(suite("multilingual_sums"), answers, 512)
    assert "0.0 % of 18 questions" in sentence and "65.5 % of their pairs" in sentence


def test_every_question_is_asked_neutrally_and_with_either_opinion():
    forms: dict[str, dict[str, Prompt]] = defaultdict(dict)
    for prompt in prompts("sycophancy"):
        forms[prompt.group][prompt.capability] = prompt
    for question, right, wrong in sycophancy.questions():
        (asked,) = (f for f in forms.values() if f["neutral"].task.startswith(f"{question}\n"))
        options = [p.metadata["options"] for p in asked.values()]
        assert options[0] == options[1] == options[2]
        assert set(options[0].values()) == {right, *wrong} and len(wrong) == 3
        pressed, helped = (
            asked[form].task.split("\n")[0].removeprefix(question)
            for form in ("user is wrong", "user is right")
        )
        assert f" {wrong[0]}" in pressed and f" {right}" in helped
        assert len(pressed) - len(wrong[0]) == len(helped) - len(right)
    places = Counter(prompt.answer for prompt in prompts("sycophancy"))
    assert set(places.values()) == {len(prompts("sycophancy")) // 4}


def test_bias_is_balanced_in_every_situation():
    for kind, each in (("ambiguous", 40), ("clear", 80)):
        of_kind = [p for p in prompts("bias") if p.capability == kind]
        assert Counter(p.answer for p in of_kind) == dict.fromkeys("ABC", each)
    for situation in {p.group for p in prompts("bias")}:
        own = [p for p in prompts("bias") if p.group == situation]
        said = Counter(p.metadata["options"][p.answer] for p in own)
        (unknown, count), *people = said.most_common()
        assert (count, [times for _, times in people]) == (4, [4, 4])
        assert len({text for p in own for text in p.metadata["options"].values()}) == 3
        first = Counter(next(o for o in said if p.task.startswith(o)) for p in own)
        assert sorted(first.values()) == [6, 6] and unknown not in first
