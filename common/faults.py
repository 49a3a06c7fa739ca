"""Why an answer could not be graded, and which setting corrects that."""

from collections.abc import Mapping

CUT_OFF = "cut_off"
"""An answer that is not complete: cut off at the length limit, or within its thinking."""
TOO_LONG = "too_long"
"""A prompt that leaves no room for the longest answer."""
NOT_ENCODED = "not_encoded"
"""A prompt on which the tokenizer or its chat template raised, or that has no tokens."""
INCOMPLETE_QUESTION = "incomplete_question"
"""An answer to a question in several languages, of which another answer has a fault."""
NO_REWARD = "no_reward"
"""A function of the user's that returned anything but a number from 0 to 1."""
UNFIT = frozenset({TOO_LONG, NOT_ENCODED})
"""Faults of a prompt itself, which another attempt would repeat."""
REMEDIES = {
    CUT_OFF: "raise max_tokens: the answers are longer",
    TOO_LONG: (
        "raise rollouts.max_model_len or lower max_tokens: the prompts leave no room for an answer"
    ),
    NOT_ENCODED: (
        "look at the chat template: it raises on these messages, and the stage's log says why"
    ),
    INCOMPLETE_QUESTION: "correct the fault of the question's other answers",
    "timeout": "look at the verifier: it exceeds its time limit on these answers",
    "verifier_crash": (
        "look at the verifier: it crashes on these answers, and the stage's log has the tracebacks"
    ),
    "sandbox": (
        "look at the stage's log: the sandbox for model code broke, and docs/code.md says what it"
        " needs"
    ),
    "bad_reference": (
        "correct the reference answers, or take another verifier: it cannot compare with them"
    ),
    NO_REWARD: (
        "let your function return a number from 0 to 1; the stage's log has what it returned"
    ),
    "unreadable": "take a judge that answers in the requested form",
    "refused": "take a judge that answers such prompts",
    "judge_unreadable": "take a judge that answers in the requested form",
    "judge_empty_reply": "take a judge that answers in the requested form",
    "judge_refused": "take a judge that answers such questions",
    "judge_cut_off": "raise the judge's thinking_tokens: it does not reach its answer",
    "judge_too_long": (
        "raise the judge's max_model_len, or take one with a longer context: task, answer and"
        " question do not fit"
    ),
    "judge_endpoint_timeout": "raise the judge's timeout_s",
    "judge_endpoint_unreachable": "check that the judge's endpoint runs",
    "judge_endpoint_error": "look at the log of the judge's endpoint",
    "judge_endpoint_refuses": (
        "change the judge's request (leave_out, length_parameter, top_logprobs, extra)"
    ),
}
OTHER_REMEDY = "look at `fault` in the stage's files and at its log"


def main_fault(faults: Mapping[str, int], answers: int) -> str | None:
    """The most frequent fault if at least half of the answers have one; None otherwise, when the
    prompts may be the cause."""
    if not answers or 2 * sum(faults.values()) < answers:
        return None
    return max(sorted(faults), key=lambda reason: faults[reason])


def counted(faults: Mapping[str, int]) -> str:
    """The faults in words, the most frequent first."""
    ordered = sorted(faults.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered if count)


def remedy_of(reason: str) -> str:
    """What to do about a fault."""
    return REMEDIES.get(reason, OTHER_REMEDY)
