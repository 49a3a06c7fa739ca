"""Prompts whose reward asks a judge, graders for them, and what a judge's endpoint says."""

import math
import re
from dataclasses import replace

from builders.scripted_endpoint import response, token_entry
from builders.single_prompts import prompt_of
from common.reply_cache import ReplyCache
from judges.open_judge import Judges
from judges.reward_compare import Compare
from judges.reward_rubric import Rubric
from rewards.grader import Grader
from rewards.interface import Resources
from rewards.kinds import KINDS

ITEMS = [{"item": "states the unit", "weight": 2.0}, {"item": "is short"}]


def judge_part(url, verifier="rubric", **settings):
    """A part of a reward that asks the judge behind `url`, without patience."""
    where = {"url": url, "model_name": "judge", "patience_s": 0.0}
    items = {"items": ITEMS} if verifier == "rubric" else {}
    return {"verifier": verifier, **where, **items, **settings}


def judged(*parts, id="p0", answer="3 cm", **metadata):
    """A prompt whose reward has `parts`."""
    prompt = prompt_of(id, "How long is it?", answer, verifier=parts[0]["verifier"])
    return replace(prompt, rewards=parts, metadata=metadata)


def judges_with(cache=None):
    """Judges whose replies are kept in the file `cache`, or in memory."""
    return Judges(lambda: ReplyCache(cache))


def grader_with(judges=None, **resources):
    """A grader that knows the verifiers that ask a judge."""
    judges = judges or judges_with()
    kinds = {**KINDS, "rubric": Rubric(judges), "compare": Compare(judges)}
    return Grader(kinds, Resources(**{"note": lambda text: None, **resources}))


def quoted(request):
    """The texts that a question quotes, in their order."""
    content = request["messages"][0]["content"]
    fence = re.search("==== [0-9a-f]{16} ====", content)
    assert fence is not None
    parts = content.split(f"\n{fence[0]}\n")
    return parts[1::2]


def says(p, labels=("yes", "no")):
    """A reply in which the first of two labels has probability `p`."""
    likeliest = sorted(zip((p, 1 - p), labels, strict=True), reverse=True)
    entry = token_entry(
        likeliest[0][1], *((label, math.log(max(q, 1e-9))) for q, label in likeliest)
    )
    choice = {"message": {"content": likeliest[0][1]}, "finish_reason": "stop"}
    status, body = response({})
    return status, body | {"choices": [choice | {"logprobs": {"content": [entry]}}]}
