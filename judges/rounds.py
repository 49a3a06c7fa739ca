"""Attempts in rounds: a prompt gets no more attempts once its fate is decided.

The rounds divide the attempts by number, and an attempt is the same whoever else is asked: its seed
belongs to prompt and number, and each round of a prompt is a question of its own in the cache. So a
killed filter goes on with the round in which it was, and asking all rounds of all prompts gives the
same replies to those that were asked."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from judges.ask import JudgeSession, JudgingResult, ask_judge, require_some
from judges.attempts import Attempts
from judges.verdict import Reply, Verdict
from prompts.schema import Prompt

LATER_ROUNDS = 8
"""Largest number of rounds after the first. An engine drains after each."""

Undecided = Callable[[Sequence[Verdict]], set[str]]
"""Ids of the prompts that need further attempts, given what is known of all prompts."""


def rounds_of(attempts: int) -> list[range]:
    """The attempts of each round, by number.

    Until more than half of the attempts are made, a prompt that failed them all may still end above
    one that passed them all. So nothing can be decided before."""
    first, step = attempts // 2 + 1, -(-attempts // (2 * LATER_ROUNDS))
    starts = [0, *range(first, attempts, step), attempts]
    return [range(start, end) for start, end in pairwise(starts)]


def judge_in_rounds(
    prompts: Sequence[Prompt], judge: Attempts, session: JudgeSession, undecided: Undecided
) -> JudgingResult:
    """The verdicts of `judge` on the prompts; `Verdict.left` counts the attempts that a decided
    prompt did not get. Raises as `judge_prompts` does."""
    replies: defaultdict[str, list[Reply]] = defaultdict(list)
    made = dict.fromkeys((prompt.id for prompt in prompts), 0)
    attempts = judge.config.attempts
    asked = known = tokens = 0
    open_prompts, verdicts = list(prompts), list[Verdict]()
    for number, part in enumerate(rounds_of(attempts)):
        mine = _session(session, number, part, len(prompts) - len(open_prompts))
        asking = Attempts(judge.config, judge.backend, judge.grader, part)
        result = ask_judge(open_prompts, asking, mine)
        asked, known = asked + result.asked, known + result.known
        tokens += result.tokens
        for verdict in result.verdicts:
            replies[verdict.id] += verdict.replies
            made[verdict.id] = part.stop
        verdicts = [
            judge.verdict(prompt, replies[prompt.id], attempts - made[prompt.id])
            for prompt in prompts
        ]
        still_open = undecided(verdicts)
        open_prompts = [prompt for prompt in open_prompts if prompt.id in still_open]
        if not open_prompts:
            break
    require_some(verdicts)
    return JudgingResult(verdicts, asked, known, tokens)


def _session(session: JudgeSession, number: int, part: range, spared: int) -> JudgeSession:
    """The session of one round: its questions have keys and a file of their own."""
    path = session.open_questions
    return replace(
        session,
        identity=[session.identity, "attempts", part.start, part.stop],
        open_questions=path.with_name(f"{path.stem}-round-{number}{path.suffix}"),
        spared=spared,
    )
