"""RL's practice on an engine that rolls out what a script says for a prompt."""

from builders.engine_double import EngineDouble
from builders.given_grades import GivenGrades
from builders.single_prompts import prompt_of
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from rewards.grader import Grade
from rollouts.interface import Rollout
from rollouts.sampling import counts
from stages.rl.collector import RolloutCollector
from stages.rl.config import RlStage

KINDS = ["uniform", "drop_zero_variance", "dynamic_sampling", "refilter", "gaussian", "posterior"]
RIGHT, WRONG, CUT, CRASH = "right", "wrong", "cut", "crash"
MIXED, SOLVED, HOPELESS = [RIGHT, WRONG], [RIGHT], [WRONG]


class ScriptedEngine(EngineDouble):
    """Rolls out what the script says for a prompt; repeats the script to fill a group."""

    max_model_len = 512

    def __init__(self, script):
        self.script, self.asked = script, []

    def encode(self, messages):
        return [ord(c) for c in messages[-1]["content"]]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        names = ["".join(map(chr, prompt)) for prompt in prompts]
        each = counts(samples, prompts)
        self.asked.append((names, each, list(seeds)))
        assert temperature > 0 and max_tokens > 0
        return [
            [self._rollout(self.script[name], i) for i in range(count)]
            for name, count in zip(names, each, strict=True)
        ]

    def _rollout(self, words, place):
        word = words[place % len(words)]
        return Rollout([7, 8], [-1.0, -2.0], word, "length" if word == CUT else "stop")


def graded(prompt, text):
    return (
        Grade(0.0, "verifier_crash", None)
        if text == CRASH
        else Grade(float(text == RIGHT), None, text)
    )


def collector(script, prior=None, **settings):
    """Practice on a scripted engine, its ledger and its engine. What was seen stays whole, to be
    counted."""
    curriculum = {"pilot": 0, "trained_decay": 1.0, **settings.pop("curriculum", {})}
    if curriculum.get("kind", "posterior") != "posterior":
        del curriculum["pilot"]
    values = {
        "id": "rl",
        "kind": "rl",
        "from": "sft",
        "on": "filter",
        "steps": 9,
        "learning_rate": 1e-4,
    }
    values |= {"group_size": 4, "prompts_per_step": 2, "curriculum": curriculum, **settings}
    config = RlStage.model_validate(values)
    prompts = {n: prompt_of(n, n, capability="words") for n in script}
    ledger, engine = Ledger(None), ScriptedEngine(script)
    ledger.add(NewPrompt(name, "words", "s", prior or Beta(1.0, 1.0)) for name in script)
    return (
        RolloutCollector(config, prompts, ledger, engine, GivenGrades(graded), seed=1),
        ledger,
        engine,
    )
