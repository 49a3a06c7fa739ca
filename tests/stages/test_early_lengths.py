"""The early check of lengths: prompts that a stage has no room for are named before anything
trains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.early_recipes import URL, dense_folder, early_check, prompt, write_recipe
from builders.engine_double import EngineDouble
from builders.recipe_texts import refused
from judges.attempts import Attempts
from judges.config import AttemptsJudge, RubricJudge
from judges.engine import EngineBackend
from judges.rubric import Rubric
from models.chat import encode_text
from models.config import ModelConfig
from models.origin import chat_format_of, judge_chat_format
from rewards.grader import Grader
from rollouts.interface import Rollout
from stages.preflight.chats import judge_chats
from stages.preflight.lengths import Bounds, measure

LONG = "x" * 500
SPEECHES = [chat_format_of(ModelConfig(preset="nano")), judge_chat_format("smollm2-135m-instruct")]


def test_a_prompt_that_sft_has_no_room_for_is_named(tmp_path):
    error = refused(early_check, write_recipe(tmp_path), [prompt("a"), prompt("long", LONG * 2)])
    first, second = error.message.splitlines()
    assert (
        first == "stages[1]: 1 of 2 prompts are longer than the model's context"
        " (max_position_embeddings), 512 tokens: prompt long (1007 tokens)"
    )
    assert second.startswith(
        "stages[2]: 1 of 2 prompts are longer than stages[2].rollouts.max_model_len (512) less"
    )
    assert "max_prompt_tokens" in error.remedy


def test_control_words_in_a_prompt_count_as_the_text_that_they_are(tmp_path):
    found = early_check(write_recipe(tmp_path), [prompt("a", "<|end|>" * 20)])
    assert found["asked"][1]["longest"] == 1 + 20 * len("<|end|>") + 1


def test_a_prompt_that_rl_has_no_room_for_is_named(tmp_path):
    path = write_recipe(tmp_path, ("steps: 4", "steps: 4, system_prompts: [Be brief., Think.]"))
    error = refused(
        early_check, path, [prompt("a"), prompt("edge", "x" * 473), *map(prompt, "bcde")]
    )
    room = "stages[2].rollouts.max_model_len (512) less max_tokens (32), 480 tokens"
    assert (
        error.message
        == f"stages[2]: 1 of 6 prompts are longer than {room}: prompt edge (485 tokens)"
    )
    assert error.remedy.startswith(
        "raise stages[2].rollouts.max_model_len, lower max_tokens, or drop them with `max_"
    )
    assert early_check(path, [prompt("edge", "x" * 460)])["asked"][1]["longest"] == 472


def test_what_the_judge_has_no_room_for_reaches_nobody_and_is_told(tmp_path):
    dense_folder(tmp_path / "dense")
    path = write_recipe(tmp_path, (URL, "model: dense"), ("on: prompts", "on: filter"))
    found = early_check(path, [prompt("a"), prompt("long", LONG)])
    (note,) = found["notes"]
    assert (
        note.startswith("stages[0].judges[0]: 1 of 2 prompts are longer than ")
        and "long (502 tokens)" in note
    )
    assert note.endswith("they will be `unjudged` and dropped")
    assert [row["chats"] for row in found["asked"]] == [2, 1, 1, 2, 20]
    error = refused(early_check, path, [prompt("long", LONG)])
    assert error.message.startswith(
        "stages[0].judges[0]: 1 of 1 prompts are longer than stages[0].judges[0].rollouts.max"
    )


def test_examples_count_against_the_judges_room(tmp_path):
    dense_folder(tmp_path / "dense")
    examples = f"examples: {{words: [{{question: {'y' * 400}, answer: z}}]}}"
    path = write_recipe(tmp_path, (URL, f"model: dense, {examples}"))
    assert (
        "stages[0].judges[0]: 1 of 2 prompts"
        in early_check(path, [prompt("a"), prompt("b", "x" * 80)])["notes"][0]
    )
    error = refused(
        early_check, write_recipe(tmp_path, (URL, f"{URL}, {examples.replace('words', 'sums')}"))
    )
    assert error.message == "stages[0].judges[0].examples: no prompt has the capability 'sums'"


def test_what_an_evaluation_has_no_room_for_is_told(tmp_path):
    found = early_check(write_recipe(tmp_path), held_out=[prompt("k"), prompt("long", "x" * 460)])
    (note,) = found["notes"]
    assert note.startswith(
        "evaluate.suites[0]: 1 of 2 prompts are longer than evaluate.rollouts.max_model_len (512)"
    )
    assert note.endswith("448 tokens: prompt long (462 tokens); they will be counted as wrong")
    room = ("suites: [held_out, ", "suites: [{name: corner_cases, max_tokens: 460}, ")
    (note,) = early_check(write_recipe(tmp_path, room))["notes"]
    assert note.startswith("evaluate.suites[0]: ") and note.endswith("left out of the rates")


@pytest.mark.parametrize("speech", SPEECHES, ids=["nano", "smollm2"])
@given(st.lists(st.text(max_size=40), min_size=1, max_size=3), st.booleans())
def test_no_chat_has_more_tokens_than_its_bound(speech, texts, opened):
    roles = ["user", "assistant", "user"] if len(texts) != 2 else ["system", "user"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    bounds = Bounds(speech, opened)
    assert bounds.exact(messages) <= bounds.of(messages) < 1000


class FakeEngine(EngineDouble):
    """As much of an engine as says which prompts are too long."""

    max_model_len = 1200

    def encode(self, messages):
        return SPEECHES[0].tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )

    def encode_text(self, text):
        return encode_text(SPEECHES[0].tokenizer, text)

    def next_token(self, prompts, tokens):
        return [[-1.0] * len(tokens) for _ in prompts]

    def generate(self, prompts, **options):
        return [[Rollout([1], [0.0], "7", "stop")] for _ in prompts]


@pytest.mark.parametrize("kind", ["attempts", "rubric"])
def test_the_room_at_a_judge_is_what_its_engine_says(kind):
    engine = {"model": "dense", "rollouts": {"max_model_len": FakeEngine.max_model_len}}
    config = {"attempts": AttemptsJudge, "rubric": RubricJudge}[kind](
        kind=kind, retries=0, **engine
    )
    source = EngineBackend(FakeEngine())
    judge = Attempts(config, source, Grader()) if kind == "attempts" else Rubric(config, source)
    prompts = [prompt(str(n), "x" * n) for n in range(300, 1250, 3)]
    talk = judge_chats("stages[0].judges[0]", config, prompts)
    assert talk.room is not None
    room = talk.room - len(encode_text(SPEECHES[0].tokenizer, talk.lead))
    replies = zip(prompts, judge.ask([(one,) for one in prompts]), strict=True)
    said = {one.id for one, reply in replies if reply["replies"][0]["fault"] == "too_long"}
    found = {one.id for _, one in measure(SPEECHES[0], talk.chats, room, opened=True).too_long}
    assert found == said and 0 < len(said) < len(prompts)
