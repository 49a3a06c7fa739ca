"""A judge behind an OpenAI-compatible URL.

The client repeats what the server refuses for now (429 and 5xx, with backoff, as long as `Retry-After` says); an
endpoint that is gone is waited for as long as `patience_s`. What goes wrong all the same is a fault of its own and
never a reply. A parameter that is refused is done without, which is said once; the first request goes alone, so that
it is found out once. The reference answer's likelihood needs vLLM's `prompt_logprobs` extension; an endpoint without
it gives none, and a tie is then broken by seed.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from common.errors import BadInput, RunFailed, UphillError
from common.seeds import derive
from judges.config import ROOM, JudgeConfig
from judges.engine import mean_logprob
from judges.labels import has_likelihoods, likely, written
from judges.parameters import Parameters, Wish, parameters_of
from judges.refusal import NoReply, refusal, shortened
from judges.response import IMPOSSIBLE, Response, completions, read
from judges.source import Choice, Completion, Likelihood, Line, Question, Request
from judges.together import ask_together
from prompts.schema import Prompt
from rewards.thinking import answer_part

ATTEMPTS = 4
"""Times that the client repeats a request that was refused for now."""
WAIT_S = 2.0
"""Between two looks for an endpoint that is gone, in seconds."""
NOT_ASKED = "not_asked"
NO_LOGPROBS = "no_logprobs"
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class EndpointSource:
    """Replies of a chat endpoint. BadInput if the environment variable named for the key is not set.

    With a `line` no error is raised that ends it all: it is put there, after which nothing is asked any more.
    """

    def __init__(self, config: JudgeConfig, line: Line | None = None) -> None:
        import openai

        self._config, self._line, self._raises = config, line or Line(), line is None
        self._key = _api_key(config)
        self._client = openai.OpenAI(
            base_url=config.url, api_key=self._key or "EMPTY", timeout=config.timeout_s, max_retries=ATTEMPTS
        )
        self._parameters = parameters_of(config)
        self._without_reference: str | None = None
        self._lock, self._first = threading.Lock(), threading.Lock()
        self._untried = True
        self._gone_since: float | None = None

    def close(self) -> None:
        self._client.close()

    def sample(self, requests: Sequence[Request]) -> list[list[Completion]]:
        found = self._each(self._sample, requests)
        lost = Completion("", "none", fault=NOT_ASKED)
        return [said or [lost] * request.samples for said, request in zip(found, requests, strict=True)]

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The endpoint writes freely; the first token that is a label counts, with the likelihoods of the others.

        Without log-probabilities each label's share of several sampled replies stands for its probability.
        """
        return [said or Choice(None, "", fault=NOT_ASKED) for said in self._each(self._choose, questions)]

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return [said or (None, NOT_ASKED) for said in self._each(self._likelihood, prompts)]

    def _each(self, ask: Callable[[_Item], _Answer], items: Sequence[_Item]) -> list[_Answer | None]:
        if self._line.failure is not None:
            return [None] * len(items)
        line = self._line
        found, failure = ask_together(ask, items, self._config.concurrency, line.heard, line.stop_requested)
        if failure is not None and (self._raises or not isinstance(failure, UphillError)):
            raise failure
        line.failure = failure if isinstance(failure, UphillError) else None
        return found

    def _sample(self, request: Request) -> list[Completion]:
        found: list[Completion] = []
        while len(found) < request.samples:
            # Some servers give one choice whatever `n` says: ask on, with another seed.
            wanted = request.samples - len(found)
            seed = request.seed + len(found)
            response = self._try(Wish(request.messages, request.max_tokens, wanted, request.temperature, seed))
            if isinstance(response, Completion):
                return found + [response] * wanted
            found += completions(response, "its own temperature" if self._own_temperature else "")
        return found[: request.samples]

    @property
    def _own_temperature(self) -> bool:
        return "temperature" in self._parameters.left_out

    def _choose(self, question: Question) -> Choice:
        if not self._parameters.top:
            return self._choose_by_samples(question)
        response = self._try(Wish(question.messages, self._room(question), temperature=0.0, logprobs=True))
        if isinstance(response, Completion) and response.fault == NO_LOGPROBS:
            return self._choose_by_samples(question)
        if isinstance(response, Completion):
            return Choice(None, response.text, fault=response.fault)
        completion, said = completions(response)[0], response.choices[0]
        text = answer_part(completion.text)
        if completion.fault is not None or not (text or "").strip():
            return _without_label(completion)
        if not has_likelihoods(said.tokens):
            self._adopt(self._parameters.without_logprobs(), self._parameters)
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
        replies = self._sample(Request(question.messages, samples, 1.0, self._room(question), seed))
        tokens = sum(reply.tokens for reply in replies)
        labels = Counter(_written(reply, question) for reply in replies)
        readable = samples - labels.pop(None, 0)
        if not readable:
            faults = [_without_label(reply) for reply in replies]
            worst = next((one for one in faults if one.fault == "cut_off"), faults[0])
            return Choice(None, worst.text, tokens, worst.fault, "none")
        text = "\n---\n".join(reply.text for reply in replies)
        how = f"{readable} samples" + (f", {replies[0].how}" if replies[0].how else "")
        return Choice({label: labels[label] / readable for label in question.labels}, text, tokens, how=how)

    def _room(self, question: Question) -> int:
        return question.max_tokens + (ROOM + self._config.thinking_tokens) * question.times

    def _try(self, wish: Wish) -> Response | Completion:
        """One response, or in its place a completion with the fault and with what was said of it."""
        try:
            return self._ask(wish)
        except NoReply as error:
            self._raise_if_final(error)
            return Completion(error.said, "none", fault=error.fault)

    def _ask(self, wish: Wish, **more: Any) -> Response:
        """A request without the parameters that the endpoint refuses. Raises NoReply."""
        with self._first:
            first, self._untried = self._untried, False
            if first:
                return self._adapted(wish, more)
        return self._adapted(wish, more)

    def _adapted(self, wish: Wish, more: dict[str, Any]) -> Response:
        """What is done without counts from now on only if the request went through in the end.

        One for log-probabilities that are not to be had is not sent without them: nobody has a use for that.
        """
        start = tried = self._parameters
        while True:
            if wish.logprobs and not tried.top:
                self._adopt(tried, start)
                raise NoReply("the endpoint gives no log-probabilities", fault=NO_LOGPROBS)
            try:
                response = self._post(wish, tried, more)
            except NoReply as error:
                other = tried.less(error, wish)
                if other is None:
                    raise
                tried = other
                continue
            self._adopt(tried, start)
            return response

    def _adopt(self, found: Parameters, start: Parameters) -> None:
        with self._lock:
            before, self._parameters = self._parameters, self._parameters.also(found, start)
        news = self._parameters.since(before, self._config.samples)
        if news:
            setting = self._parameters.setting(parameters_of(self._config))
            self._line.note(f"{self._config.url}: {'; '.join(news)} (to ask so from the start: {setting})")

    def _post(self, wish: Wish, parameters: Parameters, more: dict[str, Any]) -> Response:
        """One request. An endpoint that is gone is waited for."""
        import openai

        chat: Any = self._client.chat.completions.with_raw_response
        settings = parameters.settings(wish)
        while True:
            try:
                body = {**self._config.extra, **more}
                raw = chat.create(model=self._config.model_name, messages=wish.messages, extra_body=body, **settings)
            except openai.APIStatusError as error:
                self._gone_since = None
                raise refusal(error.status_code, _body(error.response), self._key) from None
            except openai.APITimeoutError:
                said = f"no response within timeout_s ({self._config.timeout_s:g} s)"
                raise NoReply(said, fault="endpoint_timeout") from None
            except openai.APIConnectionError as error:
                self._gone_since = self._gone_since or time.monotonic()
                gone = time.monotonic() - self._gone_since > self._config.patience_s
                if gone or self._line.stop_requested():
                    raise NoReply(str(error), fault="endpoint_unreachable") from None
                time.sleep(WAIT_S)
                continue
            except (openai.OpenAIError, ValueError) as error:  # such as text that is no Unicode
                raise NoReply(shortened(str(error), self._key), fault="endpoint_error") from None
            self._gone_since = None
            return read(raw.content, self._key)

    def _likelihood(self, prompt: Prompt) -> Likelihood:
        """The first refusal holds for all later prompts."""
        if self._without_reference is not None:
            return None, self._without_reference
        more = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
        try:
            start = self._ask(Wish(prompt.messages, 1)).prompt_tokens
            entries = self._ask(Wish(messages, 1), **more).prompt_logprobs
        except NoReply as error:
            self._raise_if_final(error)
            return None, self._give_up() if error.of_form else error.fault
        if not entries or start is None:
            return None, self._give_up()
        if any(len(candidates) != 1 for candidates in entries[start:]):
            return None, self._give_up("endpoint_gives_several_tokens")
        logprobs = [candidates[0] for candidates in entries[start:]]
        return (None, "not_finite") if min(logprobs, default=0.0) <= IMPOSSIBLE else mean_logprob(logprobs)

    def _give_up(self, reason: str = "endpoint_gives_none") -> str:
        with self._lock:
            self._without_reference = self._without_reference or reason
            return self._without_reference

    def _raise_if_final(self, error: NoReply) -> None:
        """For errors that every further request would meet as well."""
        url, name = self._config.url, self._config.api_key_env
        if error.unpaid:
            raise RunFailed(
                f"{url} wants to be paid: {error.said}", "add credit there; the same command asks what is missing"
            )
        if error.fault != "refused" and error.status in (401, 403):
            given = f"the key in {name}" if name else "a request without a key"
            raise BadInput(f"{url} refuses {given}: {error.said}", "set api_key_env to a variable with a key")
        if error.status == 404:
            raise BadInput(
                f"{url} does not know the model {self._config.model_name!r}: {error.said}",
                "correct url (it usually ends in /v1) or model_name",
            )


def _api_key(config: JudgeConfig) -> str | None:
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env)
    if not key:
        raise BadInput(
            f"api_key_env names {config.api_key_env}, which is not set", f"export {config.api_key_env} or leave it out"
        )
    return key


def _body(response: Any) -> Any:
    """An error's body, as JSON where it is some."""
    try:
        return response.json()
    except ValueError:
        return response.text


def _without_label(completion: Completion) -> Choice:
    """A reply that gives no label: cut off before it came to one, or unreadable."""
    cut = completion.finish == "length" or answer_part(completion.text) is None
    fault = completion.fault or ("cut_off" if cut else "unreadable")
    return Choice(None, completion.text, completion.tokens, fault, "none")


def _written(reply: Completion, question: Question) -> str | None:
    text = answer_part(reply.text) if reply.fault is None else None
    return None if text is None else written(text, question)
