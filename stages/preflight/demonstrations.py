"""Demonstrations among the prompts: who cannot use them, and whether their turns can be told
apart; and a judge's examples that no prompt can use."""

from collections.abc import Iterator, Sequence

from judges.config import AttemptsJudge, JudgeConfig
from models.chat import Messages
from models.origin import ChatFormat
from models.probes import FAILURES, OTHER
from models.turns import marks_turns, uncut
from prompts.schema import Prompt

Problem = tuple[str, str]
"""A message and its remedy."""
_HAVE = "have no verifier, which grades answers, such as"


def demonstrations(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.is_demonstration]


def judge_problem(judge: JudgeConfig, prompts: Sequence[Prompt]) -> Problem | None:
    """The problem of a judge whose attempts are graded by the prompts' verifiers."""
    shown = demonstrations(prompts)
    if not shown or not isinstance(judge, AttemptsJudge) or judge.graded_by == "judge":
        return None
    message = f"{len(shown)} of {len(prompts)} prompts are demonstrations: they {_HAVE}"
    return f"{message} {shown[0].named}", "take `kind: rubric`, or set `graded_by: judge`"


def examples_problem(judge: JudgeConfig, prompts: Sequence[Prompt]) -> Problem | None:
    """The problem of examples for capabilities that no prompt has."""
    known = sorted({prompt.capability for prompt in prompts})
    unused = sorted(set(judge.examples) - set(known)) if judge.kind == "attempts" else []
    if not unused:
        return None
    message = f"no prompt has the capability {', '.join(map(repr, unused))}"
    return message, f"name a capability of the prompts: {', '.join(known)}"


def rollout_problem(prompts: Sequence[Prompt], trains: bool) -> Problem | None:
    """The problem of a policy that answers prompts to be graded. RL leaves demonstrations out, and
    needs other prompts; an audit takes none."""
    shown = demonstrations(prompts)
    if not shown or (trains and len(shown) < len(prompts)):
        return None
    message = f"{len(shown)} of {len(prompts)} prompts are demonstrations: they {_HAVE}"
    remedy = "add a source of prompts with a verifier, or name the verifier of this one"
    audited = "leave the audit out, or filter prompts that have a verifier"
    return f"{message} {shown[0].named}", remedy if trains else audited


def held_out_problem(prompts: Sequence[Prompt]) -> Problem | None:
    """The problem of an evaluation on held-out demonstrations."""
    shown = demonstrations(prompts)
    if not shown:
        return None
    sources = ", ".join(sorted({prompt.source for prompt in shown}))
    message = f"{len(shown)} of {len(prompts)} held-out prompts are demonstrations: they {_HAVE}"
    return f"{message} {shown[0].named}", f"give their source `held_out: 0` ({sources})"


def turns_problems(chat_format: ChatFormat, prompts: Sequence[Prompt]) -> Iterator[Problem]:
    """The first demonstration whose turns the chat template does not tell apart."""
    if marks_turns(chat_format.tokenizer):
        return
    for prompt in demonstrations(prompts):
        reason = _uncut(chat_format, [*prompt.messages, prompt.reply])
        if reason is not None:
            yield f"{prompt.named}: {reason}", f"{OTHER}, or one with {{% generation %}}"
            return


def _uncut(chat_format: ChatFormat, chat: Messages) -> str | None:
    try:
        return uncut(chat_format.tokenizer, chat)
    except FAILURES:
        return None  # the check of the chat's roles reports it
