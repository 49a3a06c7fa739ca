"""A judge behind an OpenAI-compatible URL.

Errors on the way (`judges.client`) are faults of their own and never count as replies. A label's
probability is read from the likeliest tokens at its position or, without log-probabilities, is its
share of several samples. The likelihood of a reference answer needs vLLM's `prompt_logprobs`
extension. Without it there are no likelihoods, and ties are broken by seed."""

from collections import Counter
from collections.abc import Callable, Sequence
from threading import BoundedSemaphore
from typing import TypeVar

from common.errors import UphillError
from common.judge_settings import JudgeSettings
from common.seeds import derive
from common.thinking import answer_part
from judges.backend import (
    BackendMonitor,
    Choice,
    Completion,
    Likelihood,
    Question,
    SamplingRequest,
)
from judges.client import NO_LOGPROBS, Client
from judges.concurrency import ask_concurrently
from judges.config import ROOM
from judges.engine import mean_logprob
from judges.labels import has_alternatives, label_probabilities, written_label
from judges.parameters import ChatRequest
from judges.refusal import NoReply
from judges.response import MIN_LOGPROB, Response, completions
from prompts.schema import Prompt

NOT_ASKED = "not_asked"
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class EndpointBackend:
    """Replies from a chat endpoint. Raises BadInput if the environment variable named for the key
    is not set. It may be asked from several threads: `concurrency` limits their requests together.

    An error that every further request would meet is raised. With a `monitor` it is stored there
    instead, and nothing is asked from then on."""

    def __init__(self, config: JudgeSettings, monitor: BackendMonitor | None = None) -> None:
        self._config, self._raises = config, monitor is None
        self._monitor = monitor or BackendMonitor()
        self._client = Client(config, self._monitor)
        self._slots = BoundedSemaphore(config.concurrency)
        self._no_likelihoods: str | None = None
        """Why the endpoint gives no likelihoods, once known."""

    def close(self) -> None:
        self._client.close()

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        missing = Completion("", "none", fault=NOT_ASKED)
        return [
            sampled or [missing] * request.samples
            for sampled, request in zip(self._each(self._sample, requests), requests, strict=True)
        ]

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The endpoint writes freely. The first token that is a label counts, with the
        probabilities of the other labels.

        Without log-probabilities, each label's share of several samples stands for its
        probability."""
        return [
            choice or Choice(None, "", fault=NOT_ASKED)
            for choice in self._each(self._choose, questions)
        ]

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return [
            likelihood or (None, NOT_ASKED) for likelihood in self._each(self._likelihood, prompts)
        ]

    def _each(
        self, ask: Callable[[_Item], _Answer], items: Sequence[_Item]
    ) -> list[_Answer | None]:
        monitor = self._monitor
        if monitor.failure is not None:
            return [None] * len(items)

        def ask_in_turn(item: _Item) -> _Answer:
            with self._slots:
                return ask(item)

        answers, failure = ask_concurrently(
            ask_in_turn, items, self._config.concurrency, monitor.on_answers, monitor.stop_requested
        )
        if failure is not None and (self._raises or not isinstance(failure, UphillError)):
            raise failure
        if isinstance(failure, UphillError):  # one of another thread's stays
            monitor.failure = failure
        return answers

    def _sample(self, request: SamplingRequest) -> list[Completion]:
        sampled: list[Completion] = []
        while len(sampled) < request.samples:
            # Some servers return one choice whatever `n` is. Ask again, with another seed.
            missing = request.samples - len(sampled)
            seed = request.seed + len(sampled)
            response = self._try(
                ChatRequest(
                    request.messages, request.max_tokens, missing, request.temperature, seed
                )
            )
            if isinstance(response, Completion):
                return sampled + [response] * missing
            how = "its own temperature" if self._uses_own_temperature else ""
            sampled += completions(response, how)
        return sampled[: request.samples]

    @property
    def _uses_own_temperature(self) -> bool:
        return "temperature" in self._client.parameters.left_out

    def _choose(self, question: Question) -> Choice:
        if not self._client.parameters.top:
            return self._choose_by_samples(question)
        response = self._try(
            ChatRequest(question.messages, self._room(question), temperature=0.0, logprobs=True)
        )
        if isinstance(response, Completion) and response.fault == NO_LOGPROBS:
            return self._choose_by_samples(question)
        if isinstance(response, Completion):
            return Choice(None, response.text, fault=response.fault)
        completion, tokens = completions(response)[0], response.choices[0].tokens
        text = answer_part(completion.text)
        if completion.fault is not None or not (text or "").strip():
            return _without_label(completion)
        if not has_alternatives(tokens):
            self._client.adopt(self._client.parameters.without_logprobs())
            return self._choose_by_samples(question)
        try:
            weights = label_probabilities(text or "", tokens, question)
        except ValueError:
            return self._choose_by_samples(question)
        if weights is None:
            return _without_label(completion)
        return Choice(weights, completion.text, completion.tokens, finish=completion.finish)

    def _choose_by_samples(self, question: Question) -> Choice:
        content = question.messages[-1]["content"]
        seed = derive(self._config.seed, "choose", question.room_factor, content)
        samples = self._config.samples
        replies = self._sample(
            SamplingRequest(question.messages, samples, 1.0, self._room(question), seed)
        )
        tokens = sum(reply.tokens for reply in replies)
        labels = Counter(_label_of(reply, question) for reply in replies)
        readable = samples - labels.pop(None, 0)
        if not readable:
            faults = [_without_label(reply) for reply in replies]
            shown = next((choice for choice in faults if choice.fault == "cut_off"), faults[0])
            return Choice(None, shown.text, tokens, shown.fault, "none")
        text = "\n---\n".join(reply.text for reply in replies)
        how = f"{readable} samples" + (f", {replies[0].how}" if replies[0].how else "")
        return Choice(
            {label: labels[label] / readable for label in question.labels}, text, tokens, how=how
        )

    def _room(self, question: Question) -> int:
        """Token limit of a reply to the question."""
        return question.max_tokens + (ROOM + self._config.thinking_tokens) * question.room_factor

    def _try(self, request: ChatRequest) -> Response | Completion:
        """The response, or a completion with the fault and the endpoint's error message."""
        try:
            return self._client.ask(request)
        except NoReply as error:
            return Completion(error.message, "none", fault=error.fault)

    def _likelihood(self, prompt: Prompt) -> Likelihood:
        """The first refusal applies to all later prompts."""
        if self._no_likelihoods is not None:
            return None, self._no_likelihoods
        extra = {
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
        try:
            start = self._client.ask(ChatRequest(prompt.messages, 1)).prompt_tokens
            entries = self._client.ask(ChatRequest(messages, 1), **extra).prompt_logprobs
        except NoReply as error:
            return None, self._give_up() if error.may_concern_parameters else error.fault
        if not entries or start is None:
            return None, self._give_up()
        if any(len(candidates) != 1 for candidates in entries[start:]):
            return None, self._give_up("endpoint_gives_several_tokens")
        logprobs = [candidates[0] for candidates in entries[start:]]
        if min(logprobs, default=0.0) <= MIN_LOGPROB:
            return None, "not_finite"
        return mean_logprob(logprobs)

    def _give_up(self, reason: str = "endpoint_gives_none") -> str:
        self._no_likelihoods = self._no_likelihoods or reason
        return self._no_likelihoods


def _without_label(completion: Completion) -> Choice:
    """The fault of a reply without a label: cut off before the label, or unreadable."""
    cut_off = completion.finish == "length" or answer_part(completion.text) is None
    fault = completion.fault or ("cut_off" if cut_off else "unreadable")
    return Choice(None, completion.text, completion.tokens, fault, "none")


def _label_of(reply: Completion, question: Question) -> str | None:
    text = answer_part(reply.text) if reply.fault is None else None
    return None if text is None else written_label(text, question)
