"""A judge behind an OpenAI-compatible URL.

What goes wrong on the way (`judges.client`) is a fault of its own and never a reply. A label's
probability comes from the likeliest tokens where it stands, or, without them, from its share of
several samples. The likelihood of a reference answer needs vLLM's `prompt_logprobs` extension; an
endpoint without it gives none, and a tie is then broken by seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from common.errors import UphillError
from common.seeds import derive
from common.thinking import answer_part
from judges.backend import Choice, Completion, Likelihood, Line, Question, SamplingRequest
from judges.client import NO_LOGPROBS, Client
from judges.config import ROOM, JudgeConfig
from judges.engine import mean_logprob
from judges.labels import has_likelihoods, likely, written
from judges.parameters import Wish
from judges.refusal import NoReply
from judges.response import IMPOSSIBLE, Response, completions
from judges.together import ask_together
from prompts.schema import Prompt

NOT_ASKED = "not_asked"
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class EndpointBackend:
    """Replies of a chat endpoint. BadInput if the environment variable named for the key is not
    set.

    With a `line` no error is raised that ends it all: it is put there, after which nothing is asked
    any more."""

    def __init__(self, config: JudgeConfig, line: Line | None = None) -> None:
        self._config, self._line, self._raises = config, line or Line(), line is None
        self._client = Client(config, self._line)
        self._without_reference: str | None = None

    def close(self) -> None:
        self._client.close()

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        found = self._each(self._sample, requests)
        lost = Completion("", "none", fault=NOT_ASKED)
        return [
            said or [lost] * request.samples for said, request in zip(found, requests, strict=True)
        ]

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The endpoint writes freely; the first token that is a label counts, with the likelihoods
        of the others.

        Without log-probabilities each label's share of several sampled replies stands for its
        probability."""
        return [
            said or Choice(None, "", fault=NOT_ASKED)
            for said in self._each(self._choose, questions)
        ]

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return [said or (None, NOT_ASKED) for said in self._each(self._likelihood, prompts)]

    def _each(
        self, ask: Callable[[_Item], _Answer], items: Sequence[_Item]
    ) -> list[_Answer | None]:
        if self._line.failure is not None:
            return [None] * len(items)
        line = self._line
        found, failure = ask_together(
            ask, items, self._config.concurrency, line.heard, line.stop_requested
        )
        if failure is not None and (self._raises or not isinstance(failure, UphillError)):
            raise failure
        line.failure = failure if isinstance(failure, UphillError) else None
        return found

    def _sample(self, request: SamplingRequest) -> list[Completion]:
        found: list[Completion] = []
        while len(found) < request.samples:
            # Some servers give one choice whatever `n` says: ask on, with another seed.
            wanted = request.samples - len(found)
            seed = request.seed + len(found)
            response = self._try(
                Wish(request.messages, request.max_tokens, wanted, request.temperature, seed)
            )
            if isinstance(response, Completion):
                return found + [response] * wanted
            found += completions(response, "its own temperature" if self._own_temperature else "")
        return found[: request.samples]

    @property
    def _own_temperature(self) -> bool:
        return "temperature" in self._client.parameters.left_out

    def _choose(self, question: Question) -> Choice:
        if not self._client.parameters.top:
            return self._choose_by_samples(question)
        response = self._try(
            Wish(question.messages, self._room(question), temperature=0.0, logprobs=True)
        )
        if isinstance(response, Completion) and response.fault == NO_LOGPROBS:
            return self._choose_by_samples(question)
        if isinstance(response, Completion):
            return Choice(None, response.text, fault=response.fault)
        completion, said = completions(response)[0], response.choices[0]
        text = answer_part(completion.text)
        if completion.fault is not None or not (text or "").strip():
            return _without_label(completion)
        if not has_likelihoods(said.tokens):
            self._client.adopt(self._client.parameters.without_logprobs())
            return self._choose_by_samples(question)
        try:
            weights = likely(text or "", said.tokens, question)
        except ValueError:
            return self._choose_by_samples(question)
        if weights is None:
            return _without_label(completion)
        return Choice(weights, completion.text, completion.tokens, finish=completion.finish)

    def _choose_by_samples(self, question: Question) -> Choice:
        seed = derive(self._config.seed, "choose", question.times, question.messages[-1]["content"])
        samples = self._config.samples
        replies = self._sample(
            SamplingRequest(question.messages, samples, 1.0, self._room(question), seed)
        )
        tokens = sum(reply.tokens for reply in replies)
        labels = Counter(_written(reply, question) for reply in replies)
        readable = samples - labels.pop(None, 0)
        if not readable:
            faults = [_without_label(reply) for reply in replies]
            worst = next((one for one in faults if one.fault == "cut_off"), faults[0])
            return Choice(None, worst.text, tokens, worst.fault, "none")
        text = "\n---\n".join(reply.text for reply in replies)
        how = f"{readable} samples" + (f", {replies[0].how}" if replies[0].how else "")
        return Choice(
            {label: labels[label] / readable for label in question.labels}, text, tokens, how=how
        )

    def _room(self, question: Question) -> int:
        return question.max_tokens + (ROOM + self._config.thinking_tokens) * question.times

    def _try(self, wish: Wish) -> Response | Completion:
        """One response, or in its place a completion with the fault and with what was said of
        it."""
        try:
            return self._client.ask(wish)
        except NoReply as error:
            return Completion(error.said, "none", fault=error.fault)

    def _likelihood(self, prompt: Prompt) -> Likelihood:
        """The first refusal holds for all later prompts."""
        if self._without_reference is not None:
            return None, self._without_reference
        more = {
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
        try:
            start = self._client.ask(Wish(prompt.messages, 1)).prompt_tokens
            entries = self._client.ask(Wish(messages, 1), **more).prompt_logprobs
        except NoReply as error:
            return None, self._give_up() if error.of_form else error.fault
        if not entries or start is None:
            return None, self._give_up()
        if any(len(candidates) != 1 for candidates in entries[start:]):
            return None, self._give_up("endpoint_gives_several_tokens")
        logprobs = [candidates[0] for candidates in entries[start:]]
        return (
            (None, "not_finite")
            if min(logprobs, default=0.0) <= IMPOSSIBLE
            else mean_logprob(logprobs)
        )

    def _give_up(self, reason: str = "endpoint_gives_none") -> str:
        self._without_reference = self._without_reference or reason
        return self._without_reference


def _without_label(completion: Completion) -> Choice:
    """A reply that gives no label: cut off before it came to one, or unreadable."""
    cut = completion.finish == "length" or answer_part(completion.text) is None
    fault = completion.fault or ("cut_off" if cut else "unreadable")
    return Choice(None, completion.text, completion.tokens, fault, "none")


def _written(reply: Completion, question: Question) -> str | None:
    text = answer_part(reply.text) if reply.fault is None else None
    return None if text is None else written(text, question)
