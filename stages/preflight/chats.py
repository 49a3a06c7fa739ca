"""The chats that a recipe's stages will put to a model, made as the stages make them, with the room
that each has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from judges.config import AttemptsJudge, JudgeConfig, RubricJudge
from judges.texts import question, task
from prompts.schema import Prompt, with_system
from stages.preflight.lengths import Chat
from stages.questions import RollQuestion, SuiteQuestion


@dataclass(frozen=True)
class Talk:
    """Chats that one stage has with one model."""

    place: str
    """Where in the recipe it comes from."""
    model: str
    """A judge's `model`; empty for the policy."""
    chats: Sequence[Chat]
    room: int | None
    """Most tokens; None where nothing is known to limit them."""
    what: str
    """The room in words."""
    remedy: str
    """For a chat that does not fit."""
    otherwise: str = ""
    """What becomes of a prompt without room; empty if it ends the run."""
    opened: bool = True
    """Whether a chat ends where the answer begins, and not with the answer."""
    system_place: str = ""
    """Where in the recipe the system message is that the stage adds."""
    lead: str = ""
    """What is put after each chat before the model goes on."""
    trains: bool = False
    """Whether answers in the template's form are learnt."""


LEADS = {"rubric": "Rating: 1", "pairwise": "Harder: A"}
"""How a judge's reply begins, the label that counts included (`judges/rubric.py`,
`judges/pairwise.py`)."""
DROP = "drop them with `max_prompt_tokens` on their source"


def learning(place: str, prompts: Sequence[Prompt], context: int | None) -> Talk:
    """SFT: each prompt with its target."""
    chats = [Chat(p, [*p.messages, {"role": "assistant", "content": p.target}]) for p in prompts]
    what, remedy = "the model's context (max_position_embeddings)", f"shorten them, or {DROP}"
    return Talk(place, "", chats, context, what, remedy, opened=False, trains=True)


def rolling(ask: RollQuestion, prompts: Sequence[Prompt]) -> list[Talk]:
    """The policy's rollouts, under each of the stage's system prompts."""
    return [_rolled(ask, prompts, system) for system in ask.systems or (None,)]


def _rolled(ask: RollQuestion, prompts: Sequence[Prompt], system: str | None) -> Talk:
    chats = [Chat(prompt, with_system(prompt.messages, system)) for prompt in prompts]
    what = (
        f"{ask.place}.rollouts.max_model_len ({ask.max_model_len}) less max_tokens"
        f" ({ask.max_tokens})"
    )
    otherwise = "" if ask.ends_the_run else "they will say nothing of the judge"
    remedy = f"raise {ask.place}.rollouts.max_model_len, lower max_tokens, or {DROP}"
    room, place = (
        ask.max_model_len - ask.max_tokens,
        f"{ask.place}.system_prompts" if system is not None else "",
    )
    return Talk(
        ask.place, "", chats, room, what, remedy, otherwise, system_place=place, trains=ask.learnt
    )


def judging(place: str, judge: JudgeConfig, prompts: Sequence[Prompt]) -> Talk:
    """A judge that runs here, the first time it is asked; what does not fit then is never
    judged."""
    assert judge.model is not None
    length, asked = judge.rollouts.max_model_len, _asked(judge)
    chats = [Chat(prompt, asked(prompt)) for prompt in prompts]
    reply = 0 if judge.kind == "pairwise" else judge.longest
    what = f"{place}.rollouts.max_model_len ({length}) less the reply ({reply})"
    remedy = f"raise {place}.rollouts.max_model_len, or {DROP}"
    otherwise, lead = "they will be `unjudged` and dropped", LEADS.get(judge.kind, "")
    return Talk(place, judge.model, chats, length - reply, what, remedy, otherwise, lead=lead)


def _asked(judge: JudgeConfig) -> Callable[[Prompt], list[dict[str, str]]]:
    if isinstance(judge, AttemptsJudge):
        return lambda prompt: judge.shown(prompt.capability, prompt.messages)
    if isinstance(judge, RubricJudge):
        return lambda prompt: question("rubric", task=task(prompt.messages))
    # Beside the shortest opponent that could be: what does not fit even so is never compared.
    return lambda prompt: question("pairwise", first=task(prompt.messages), second="")


def answering(ask: SuiteQuestion, prompts: Sequence[Prompt]) -> Talk:
    """An evaluation of the policy."""
    tokens = ask.suite.answer_length()
    what = f"evaluate.rollouts.max_model_len ({ask.max_model_len}) less max_tokens ({tokens})"
    remedy = f"raise evaluate.rollouts.max_model_len, or lower {ask.place}.max_tokens"
    place = f"{ask.place}.system" if ask.suite.system is not None else ""
    chats = [Chat(prompt, prompt.messages) for prompt in prompts]
    otherwise = "they will be counted as wrong"
    return Talk(
        ask.place,
        "",
        chats,
        ask.max_model_len - tokens,
        what,
        remedy,
        otherwise,
        system_place=place,
    )
