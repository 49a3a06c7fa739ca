"""An engine for a harness's requests: a token is a character, and it writes a fixed text."""

from dataclasses import dataclass, field

from builders.engine_double import EngineDouble
from evals.harness.requests import Requests
from rollouts.interface import Rollout

LIKELY, UNLIKELY = -0.1, -2.0


@dataclass
class WritingEngine(EngineDouble):
    """Goes on with `text` from wherever a prompt's end is in it. Log-probabilities are `LIKELY`
    for its own next character and `UNLIKELY` for another; `sure=False`: all are unlikely."""

    text: str
    sure: bool = True
    max_model_len: int = 512
    generated: list = field(default_factory=list)

    def score(self, prompts, completions, *, cached=False):
        assert cached
        assert all(
            len(p) + len(c) < self.max_model_len for p, c in zip(prompts, completions, strict=True)
        )
        return [
            [self._logprob(p + c[:n], token) for n, token in enumerate(c)]
            for p, c in zip(prompts, completions, strict=True)
        ]

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self.generated.append((len(prompts), max_tokens, temperature))
        assert all(len(prompt) + max_tokens <= self.max_model_len for prompt in prompts)
        return [[self._rollout(prompt, max_tokens)] for prompt in prompts]

    def _logprob(self, before, token):
        return LIKELY if self.sure and self._next(before)[:1] == [token] else UNLIKELY

    def _next(self, before):
        written = "".join(map(chr, before)).rpartition("|")[2]
        rest = self.text[len(written) :] if self.text.startswith(written) else ""
        return [ord(letter) for letter in rest]

    def _rollout(self, prompt, max_tokens):
        tokens = self._next(prompt)[:max_tokens] or [0]
        finish = "length" if len(tokens) == max_tokens else "stop"
        return Rollout(tokens, [0.0] * len(tokens), "", finish)


def tokens(text):
    return [ord(letter) for letter in text]


def requests_to(engine, batch=2, asked=lambda count: None):
    return Requests(engine, lambda ids: "".join(map(chr, ids)), batch, asked)
