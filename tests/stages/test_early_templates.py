"""Early checks of chat template and tokenizer: each problem is reported with place and remedy."""

import json

import pytest

from builders.checkpoint_folders import edit_config
from builders.early_recipes import (
    AFTER_USER,
    DENSE,
    NANO,
    URL,
    dense_folder,
    early_check,
    prompt,
    write_recipe,
)
from builders.recipe_texts import refused
from models.nano import CHAT_TEMPLATE as GOOD
from models.packaged import resolve_dense

NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{%"
    " endif %}" + GOOD
)
SYSTEMS = (
    "the chat template of {} cannot take a chat of system, user, as prompt {} is: it raises: System"
    " role not supported"
)
ENDLESS = GOOD.replace("<|end|>", "")
LLAMA_2 = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }}"
    " [/INST]{% else %} {{ message.content }} <|end|>{% endif %}{% endfor %}"
)
LEAVE_OUT = (
    "give another template: `chat_template: FILE.jinja` under `model`, or leave the system"
    " message out"
)


@pytest.fixture
def recipe(tmp_path):
    """Writes a dense model folder with a template, and a recipe that uses it."""

    def write(template, *texts):
        dense_folder(tmp_path / "dense", template)
        return write_recipe(tmp_path, (NANO, DENSE), *texts)

    return write


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for %}", "cannot take a chat of user, as prompt a is: it raises: "),
        ("{{ nothing.there }}" + GOOD, "it raises: 'nothing' is undefined"),
        (
            GOOD.replace("{{ message['content'] }}", "{{ message['role'] }}"),
            "it leaves the user's words out",
        ),
        (
            GOOD.partition(AFTER_USER)[0],
            "it has no generation prompt: before an answer comes '<|assistant|>'",
        ),
        (
            GOOD.partition(AFTER_USER)[0] + AFTER_USER + "<|user|>{% endif %}",
            "the chat with an answer does not begin with the prompt, which ends in '",
        ),
        (
            ENDLESS,
            (
                "nothing comes after an answer, but the engine stops at '<|end|>': every answer"
                " would be cut off"
            ),
        ),
        (
            GOOD.replace("<|end|>", "<|start|>"),
            "what comes after an answer is '<|start|>', but the engine stops at",
        ),
        (
            "{{ 'x' if add_generation_prompt }}" + GOOD,
            "its generation prompt does not go on from the chat without it",
        ),
    ],
)
def test_a_template_that_fails_every_stage_is_refused_once(recipe, template, words):
    error = refused(early_check, recipe(template))
    assert words in error.message and error.message.count("chat template of") == 1
    assert "chat_template: FILE.jinja" in error.remedy


@pytest.mark.parametrize("template", [GOOD, LLAMA_2, GOOD.replace("<|end|>", "<|end|>\n")])
def test_working_templates_pass(recipe, template):
    assert early_check(recipe(template))["notes"] == []


def test_prompts_with_several_turns_are_checked(recipe):
    reordering = GOOD.replace(
        "{% for message in messages %}", "{% for message in messages | reverse %}"
    )
    turns = [
        *({"role": role, "content": "x"} for role in ("user", "assistant")),
        {"role": "user", "content": "y"},
    ]
    chat = prompt("a", "x")
    chat.messages[:] = turns
    error = refused(early_check, recipe(reordering), [prompt("b"), chat])
    assert (
        "chat of user, assistant, user, as prompt a is: it puts the messages into another order"
        in str(error)
    )


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("held_out: 0.25", "held_out: 0.25, system: Be brief.", "prompts[0].system"),
        ("steps: 4", "steps: 4, system_prompts: [Be brief.]", "stages[2].system_prompts"),
        (
            "suites: [held_out,",
            "suites: [{name: held_out, system: Be brief.},",
            "evaluate.suites[0].system",
        ),
    ],
)
def test_a_template_without_a_system_role_is_refused_if_the_recipe_needs_one(
    recipe, old, new, place
):
    system = "Be brief." if place.startswith("prompts") else None
    prompts = [prompt(letter, system=system) for letter in "ab"], [prompt("g", system=system)]
    path = recipe(NO_SYSTEM, (old, new))
    error = refused(early_check, path, *prompts)
    named = "g" if place.startswith("evaluate") else "a"
    assert error.message == f"{place}: {SYSTEMS.format(path.parent / 'dense', named)}"
    assert error.remedy == LEAVE_OUT


def test_a_system_message_of_a_row_is_named_with_its_prompt(recipe):
    error = refused(early_check, recipe(NO_SYSTEM), [prompt("a"), prompt("b", system="Be brief.")])
    assert error.message.startswith("stages[1]: ") and "as prompt b is" in error.message


def test_without_system_messages_such_a_template_passes(recipe):
    assert early_check(recipe(NO_SYSTEM))["notes"] == []


def test_a_judges_template_is_checked_too(recipe, tmp_path):
    dense_folder(tmp_path / "judge", ENDLESS)
    error = refused(early_check, recipe(GOOD, (URL, "model: judge")))
    assert error.message.startswith(
        f"stages[0].judges[0].model: the chat template of {tmp_path / 'judge'}: nothing comes"
    )


def test_all_problems_are_reported_together(recipe, tmp_path):
    dense_folder(tmp_path / "judge", ENDLESS)
    path = recipe(GOOD.partition(AFTER_USER)[0].replace("<|end|>", ""), (URL, "model: judge"))
    lines = refused(early_check, path, held_out=[]).message.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "stages[0].judges[0].model",
        "model",
        "model",
        "evaluate.suites[0]",
    ]


def test_a_token_of_the_generation_config_may_end_an_answer(recipe, tmp_path):
    path = recipe(GOOD.replace("<|end|>", "<|start|>"))
    (tmp_path / "dense" / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2]}))
    assert early_check(path)["notes"] == []


@pytest.mark.parametrize(
    ("damage", "words", "remedy"),
    [
        (
            lambda folder: edit_config(folder, "tokenizer_config.json", pad_token=None),
            "the tokenizer lacks a pad token",
            (
                "name one, such as '<|pad|>': `pad_token` under `model` of the recipe, or in the"
                " folder"
            ),
        ),
        (
            lambda folder: (folder / "chat_template.jinja").write_text(""),
            "the tokenizer has an empty chat template",
            (
                "give one: `chat_template: FILE.jinja` under `model` of the recipe, or that file in"
                " the folder"
            ),
        ),
        (
            lambda folder: edit_config(folder, vocab_size=50),
            "the tokenizer has 103 tokens, the model embeddings for 50",
            "give the folder the tokenizer that its model was trained with",
        ),
    ],
)
def test_an_unusable_tokenizer_is_refused(recipe, tmp_path, damage, words, remedy):
    path = recipe(GOOD)
    damage(tmp_path / "dense")
    error = refused(early_check, path)
    assert (error.message, error.remedy) == (f"model: {tmp_path / 'dense'}: {words}", remedy)


def test_the_packaged_model_passes(tmp_path):
    resolve_dense("smollm2-135m-instruct")
    path = write_recipe(tmp_path, (NANO, "model: {upcycle: smollm2-135m-instruct}"))
    assert early_check(path, [prompt("a", system="Be brief.")])["notes"] == []


def test_thinking_opened_only_by_the_prompt_is_refused_in_training(recipe):
    thinking = GOOD.replace(AFTER_USER + "<|assistant|>", AFTER_USER + "<|assistant|>think: ")
    assert "model: " in refused(early_check, recipe(thinking)).message
    sampled = recipe(
        thinking,
        ("  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}\n", ""),
        ("sft", "base"),
    )
    assert early_check(sampled)["notes"] == []
