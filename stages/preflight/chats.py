"""The chats that a recipe's stages will send to a model, built as the stages build them, with the
room that each has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corner_cases.registry import CASES
from evals.suite_file import CORNER_CASES
from judges.config import AttemptsJudge, JudgeConfig, RubricJudge
from judges.rubric import rated
from judges.texts import question, task
from prompts.pairs import Preference
from prompts.schema import Prompt, with_system
from stages.preflight.lengths import Chat
from stages.questions import CornerCaseQuestion, RollQuestion, SuiteQuestion


@dataclass(frozen=True)
class StageChats:
    """The chats of one stage with one model."""

    place: str
    """Path of the stage in the recipe."""
    model: str
    """A judge's `model`; empty for the policy."""
    chats: Sequence[Chat]
    room: int | None
    """Most tokens of a chat; None if there is no known limit."""
    limit: str
    """The room in words."""
    remedy: str
    """What to do about a chat that does not fit."""
    consequence: str = ""
    """What happens to prompts that do not fit; empty if they end the run."""
    opened: bool = True
    """True: the chats end with the generation prompt. False: they end with the answer."""
    system_place: str = ""
    """Path in the recipe of the system message that the stage adds."""
    lead: str = ""
    """Text that follows each chat before the model continues."""
    trains: bool = False
    """Whether the stage trains on answers as the template writes them."""


LEADS = {"rubric": "Rating: 1", "pairwise": "Harder: A"}
"""How a judge's reply begins, up to and including the label (`judges/rubric.py`,
`judges/pairwise.py`)."""
DROP = "drop them with `max_prompt_tokens` on their source"


def sft_chats(place: str, prompts: Sequence[Prompt], context: int | None) -> StageChats:
    """SFT: each prompt with its target. `context` is the model's context in tokens."""
    chats = [Chat(p, [*p.messages, p.reply]) for p in prompts]
    limit, remedy = "the model's context (max_position_embeddings)", f"shorten them, or {DROP}"
    return StageChats(place, "", chats, context, limit, remedy, opened=False, trains=True)


def pair_chats(place: str, pairs: Sequence[Preference], context: int | None) -> StageChats:
    """DPO: each pair's two conversations."""
    chats = [Chat(pair.learnt, chat) for pair in pairs for chat in pair.chats()]
    limit, remedy = "the model's context (max_position_embeddings)", "shorten or remove them"
    return StageChats(place, "", chats, context, limit, remedy, opened=False, trains=True)


def corner_case_chats(ask: CornerCaseQuestion) -> StageChats:
    """The policy's answers to the training prompts of corner cases."""
    prompts = [prompt for name in ask.cases for prompt in CASES[name].training_prompts()]
    limit = (
        f"{ask.engine}.rollouts.max_model_len ({ask.max_model_len}) less max_tokens"
        f" ({ask.max_tokens}) and 1"
    )
    return StageChats(
        ask.place,
        "",
        [Chat(prompt, prompt.messages) for prompt in prompts],
        ask.max_model_len - ask.max_tokens - 1,
        limit,
        remedy=f"raise {ask.engine}.rollouts.max_model_len, or lower max_tokens",
        consequence="they give no pairs",
        trains=True,
    )


def rollout_chats(ask: RollQuestion, prompts: Sequence[Prompt]) -> list[StageChats]:
    """The policy's rollouts, once per system prompt of the stage."""
    return [_rollout_chats(ask, prompts, system) for system in ask.systems or (None,)]


def _rollout_chats(ask: RollQuestion, prompts: Sequence[Prompt], system: str | None) -> StageChats:
    chats = [Chat(prompt, with_system(prompt.messages, system)) for prompt in prompts]
    limit = (
        f"{ask.place}.rollouts.max_model_len ({ask.max_model_len}) less max_tokens"
        f" ({ask.max_tokens})"
    )
    return StageChats(
        ask.place,
        "",
        chats,
        ask.max_model_len - ask.max_tokens,
        limit,
        remedy=f"raise {ask.place}.rollouts.max_model_len, lower max_tokens, or {DROP}",
        consequence="" if ask.ends_the_run else "the audit leaves them out",
        system_place="" if system is None else f"{ask.place}.system_prompts",
        trains=ask.learnt,
    )


def judge_chats(place: str, judge: JudgeConfig, prompts: Sequence[Prompt]) -> StageChats:
    """The first question to a judge that runs in an engine. A prompt that does not fit then is
    never judged."""
    assert judge.model is not None
    length, asked = judge.rollouts.max_model_len, _question_builder(judge)
    reply = 0 if judge.kind == "pairwise" else judge.longest
    return StageChats(
        place,
        judge.model,
        [Chat(prompt, asked(prompt)) for prompt in prompts],
        length - reply,
        f"{place}.rollouts.max_model_len ({length}) less the reply ({reply})",
        remedy=f"raise {place}.rollouts.max_model_len, or {DROP}",
        consequence="they will be `unjudged` and dropped",
        lead=LEADS.get(judge.kind, ""),
    )


def _question_builder(judge: JudgeConfig) -> Callable[[Prompt], list[dict[str, str]]]:
    if isinstance(judge, AttemptsJudge):
        return lambda prompt: judge.shown(prompt.capability, prompt.messages)
    if isinstance(judge, RubricJudge):
        return rated
    # With the shortest possible opponent: a prompt that does not fit even so is never compared.
    return lambda prompt: question("pairwise", first=task(prompt.messages), second="")


def suite_chats(ask: SuiteQuestion, prompts: Sequence[Prompt]) -> StageChats:
    """The policy's answers to an evaluation suite."""
    tokens = ask.suite.answer_length()
    so = "left out of the rates" if ask.suite.name == CORNER_CASES else "counted as wrong"
    return StageChats(
        ask.place,
        "",
        [Chat(prompt, prompt.messages) for prompt in prompts],
        ask.max_model_len - tokens,
        f"{ask.engine}.rollouts.max_model_len ({ask.max_model_len}) less max_tokens ({tokens})",
        remedy=f"raise {ask.engine}.rollouts.max_model_len, or lower {ask.place}.max_tokens",
        consequence=f"they will be {so}",
        system_place=f"{ask.place}.system" if ask.suite.system is not None else "",
    )
