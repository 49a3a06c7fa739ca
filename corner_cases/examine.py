"""From a prompt, what a model wrote and its grade to a finding.

A prompt is examined for its own case alone, which is its capability."""

from collections.abc import Sequence

from common.thinking import answer_part
from corner_cases.interface import CUT_OFF, Finding, GradedReply, Reply
from corner_cases.registry import CASES
from prompts.schema import Prompt
from rewards.grader import Grade


def is_compared(prompt: Prompt) -> bool:
    """Whether the replies to a question in several languages are compared by their grades
    (`examine_question`); otherwise each reply is examined alone (`examine`)."""
    return CASES[prompt.capability].detect_group is not None


def reply_of(prompt: Prompt, completion: str, finish: str | None) -> Reply | None:
    """The reply in a completion, without its thinking. None where the thinking has no end, so that
    there is no reply; that the limit ended it shows `cut_off` all the same."""
    text = answer_part(completion)
    if text is None and prompt.capability == "cut_off" and finish == CUT_OFF:
        text = ""
    return None if text is None else Reply(text, finish)


def examine(prompt: Prompt, reply: Reply) -> Finding | None:
    """What the detector of the prompt's case finds in a reply. Raises what a detector raises."""
    detect = CASES[prompt.capability].detect
    if detect is None:
        raise ValueError(f"{prompt.capability} compares the replies to a question")
    return detect(prompt, reply)


def graded_reply(completion: str, grade: Grade) -> GradedReply:
    """A completion with the grade that the prompt's verifier gave it; one with a fault is neither
    right nor wrong."""
    right = None if grade.fault is not None else grade.correct
    return GradedReply(answer_part(completion) or "", right, grade.answer or "")


def examine_question(replies: Sequence[tuple[Prompt, GradedReply]]) -> Finding | None:
    """What the case's detector finds in the replies to one question, each with its prompt."""
    (case,) = {prompt.capability for prompt, _ in replies}
    detect = CASES[case].detect_group
    if detect is None:
        raise ValueError(f"{case} examines each reply alone")
    return detect({str(prompt.metadata["asked_in"]): reply for prompt, reply in replies})
