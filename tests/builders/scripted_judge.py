"""An engine in memory that follows a script, and judges asked through it."""

from builders.engine_double import EngineDouble
from builders.given_grades import GivenGrades
from builders.single_prompts import prompt_of
from common.reply_cache import ReplyCache
from judges.ask import JudgeSession, judge_prompts
from judges.attempts import Attempts
from judges.config import AttemptsJudge
from judges.engine import EngineBackend
from rewards.grader import Grade
from rollouts.interface import Rollout

JUDGE = AttemptsJudge(kind="attempts", model="m", attempts=4, max_tokens=8)


def prompt(id, answer="7", capability="c"):
    return prompt_of(id, f"say {id}", answer, capability=capability)


PROMPTS = [prompt(f"p{n}") for n in range(10)]


def rollout(text):
    """A finished completion with one token per character."""
    ids = list(text.encode())
    return Rollout(ids, [0.0] * len(ids), text, "stop")


class ScriptedEngine(EngineDouble):
    """Answers "7" or "no" by the bits of the seed; every character is one token."""

    max_model_len = 32

    def __init__(self):
        self.asked = []

    def encode(self, messages):
        return list(messages[-1]["content"].encode())

    def encode_text(self, text):
        return list(text.encode())

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self.asked += [bytes(ids).decode() for ids in prompts]
        texts = [
            ["7" if (seed >> place) & 1 else "no" for place in range(samples)] for seed in seeds
        ]
        return [[rollout(text) for text in one] for one in texts]

    def next_token(self, prompts, tokens):
        """The first token is likelier for longer prompts."""
        return [[-1.0, *[-1.0 - len(ids) / 100] * (len(tokens) - 1)] for ids in prompts]

    def close(self):
        self.closed = True

    def score(self, prompts, completions, *, cached=False):
        return [
            [-float(len(ids))] * len(answer)
            for ids, answer in zip(prompts, completions, strict=True)
        ]


def grade(prompt, completion):
    return Grade(float(completion == prompt.answer), None, completion)


def judge_session(folder, **settings):
    """A session that stores its open questions in `folder`; its cache is in memory unless given."""
    defaults = {
        "cache": ReplyCache(None),
        "identity": "who",
        "open_questions": folder / "open.json",
        "progress": lambda *_, **__: None,
        "stop_requested": lambda: False,
        "chunk": 4,
    }
    return JudgeSession(**(defaults | settings))


def ask(folder, prompts=PROMPTS, backend=None, grade=grade, config=JUDGE, **session):
    """The result of asking an `attempts` judge."""
    judge = Attempts(config, backend or EngineBackend(ScriptedEngine()), GivenGrades(grade))
    return judge_prompts(prompts, judge, judge_session(folder, **session))
