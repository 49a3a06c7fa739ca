"""A judge behind an OpenAI-compatible URL.

The client repeats what the server refuses for now (429 and 5xx, with backoff, as long as `Retry-After` says); an
endpoint that is gone is waited for as long as `patience_s`. What goes wrong all the same is a fault of its own and
never a reply. The reference answer's likelihood needs vLLM's `prompt_logprobs` extension; an endpoint without it gives
none, and a tie is then broken by seed.
"""

import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, Field

from common.errors import BadInput
from judges.config import ROOM, JudgeConfig
from judges.engine import mean_logprob, weights_of
from judges.source import Choice, Completion, Likelihood, Messages, Question, Request
from prompts.schema import Prompt

ATTEMPTS = 4
"""Times that the client repeats a request that was refused for now."""
WAIT_S = 2.0
"""Between two looks for an endpoint that is gone, in seconds."""
SAID = 300
"""Characters that are kept of an error's message."""
TOP = 20
"""Most likely tokens asked for at each place of a choice."""
_AROUND = " \n\t*().,:;!-#\"'▁Ġ"
"""What may stand around a label."""
_ECHO = re.compile(r"\W*\w+(, \w+)* or \w+\)")
"""The question's own list of labels, repeated."""
_IMPOSSIBLE = -9999.0
"""What vLLM writes for a log-probability of minus infinity, as JSON has none."""


class Token(BaseModel):
    token: str
    logprob: float


class Place(Token):
    top_logprobs: list[Token] | None = None


class Places(BaseModel):
    content: list[Place] | None = None


class Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Reply(BaseModel):
    message: Message
    finish_reason: str | None = None
    logprobs: Places | None = None


class Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Logprob(BaseModel):
    logprob: float


class Response(BaseModel):
    """What is read of a chat completion; the client itself takes any JSON for one."""

    choices: list[Reply] = Field(min_length=1)
    usage: Usage | None = None
    prompt_logprobs: list[dict[str, Logprob] | None] | None = None


class EndpointSource:
    """Replies of a chat endpoint. BadInput if the environment variable named for the key is not set."""

    def __init__(self, config: JudgeConfig) -> None:
        import openai

        self._config = config
        self._client = openai.OpenAI(
            base_url=config.url, api_key=_api_key(config), timeout=config.timeout_s, max_retries=ATTEMPTS
        )
        self._without_reference: str | None = None
        self._lock = threading.Lock()
        self._gone_since: float | None = None

    def close(self) -> None:
        self._client.close()

    def sample(self, requests: Sequence[Request]) -> list[list[Completion]]:
        return self._each(self._sample, requests)

    def choose(self, questions: Sequence[Question]) -> list[Choice]:
        """The endpoint writes freely; the first token that is a label counts, with the likelihoods of the others."""
        return self._each(self._choose, questions)

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        return self._each(self._likelihood, prompts)

    def _each(self, ask: Any, items: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(self._config.concurrency) as threads:
            return list(threads.map(ask, items))

    def _sample(self, request: Request) -> list[Completion]:
        found: list[Completion] = []
        while len(found) < request.samples:
            # Some servers give one choice whatever `n` says: ask on, with another seed.
            wanted = request.samples - len(found)
            response = self._try(
                request.messages,
                n=wanted,
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=(request.seed + len(found)) % 2**31,
            )
            if isinstance(response, Completion):
                return found + [response] * wanted
            found += _completions(response)
        return found[: request.samples]

    def _choose(self, question: Question) -> Choice:
        response = self._try(
            question.messages, temperature=0.0, max_tokens=question.max_tokens + ROOM, logprobs=True, top_logprobs=TOP
        )
        if isinstance(response, Completion):
            return Choice(None, response.text, fault=response.fault)
        completion, reply = _completions(response)[0], response.choices[0]
        if completion.fault is not None:
            return Choice(None, completion.text, completion.tokens, completion.fault)
        weights = _weights(reply, question)
        return Choice(weights, completion.text, completion.tokens, None if weights else "unreadable")

    def _try(self, messages: Messages, **settings: Any) -> Response | Completion:
        """One response, or in its place a completion with the fault and with what was said of it."""
        import openai

        try:
            return self._ask(messages, **settings)
        except (openai.OpenAIError, ValueError) as error:
            return Completion(str(error)[:SAID], "none", fault=self._fault(error))

    def _ask(self, messages: Messages, **settings: Any) -> Response:
        """One request. Raises openai.OpenAIError, or ValueError if what comes back is no chat completion."""
        import openai

        chat: Any = self._client.chat.completions.with_raw_response
        while True:
            try:
                raw = chat.create(model=self._config.model_name, messages=messages, **settings)
            except openai.APIStatusError:
                self._gone_since = None
                raise
            except openai.APITimeoutError:
                raise
            except openai.APIConnectionError:
                self._gone_since = self._gone_since or time.monotonic()
                if time.monotonic() - self._gone_since > self._config.patience_s:
                    raise
                time.sleep(WAIT_S)
                continue
            self._gone_since = None
            return Response.model_validate_json(raw.content)

    def _likelihood(self, prompt: Prompt) -> Likelihood:
        """The first refusal holds for all later prompts."""
        import openai

        if self._without_reference is not None:
            return None, self._without_reference
        extra = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
        try:
            usage = self._ask(prompt.messages, max_tokens=1).usage
            entries = self._ask(messages, max_tokens=1, extra_body=extra).prompt_logprobs
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return None, "too_long" if _is_too_long(error) else self._give_up("endpoint_refuses")
        except (openai.OpenAIError, ValueError) as error:
            return None, self._fault(error)
        if entries is None or usage is None:
            return None, self._give_up("endpoint_gives_none")
        tokens = [list((entry or {}).values()) for entry in entries[usage.prompt_tokens :]]
        if any(len(candidates) != 1 for candidates in tokens):
            return None, self._give_up("endpoint_gives_several_tokens")
        logprobs = [candidates[0].logprob for candidates in tokens]
        return (None, "not_finite") if min(logprobs, default=0.0) <= _IMPOSSIBLE else mean_logprob(logprobs)

    def _give_up(self, reason: str) -> str:
        with self._lock:
            self._without_reference = self._without_reference or reason
            return self._without_reference

    def _fault(self, error: Exception) -> str:
        """The fault that an error is. BadInput for those that every further request would meet as well."""
        import openai

        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            name = self._config.api_key_env
            given = f"the key in {name}" if name else "a request without a key"
            # An endpoint may repeat the key that it got, and messages end up in logs.
            said = str(error).replace(self._client.api_key, "***") if name else str(error)
            raise BadInput(f"{self._config.url} refuses {given}: {said}", "set api_key_env to a variable with a key")
        if isinstance(error, openai.NotFoundError):
            raise BadInput(
                f"{self._config.url} does not know the model {self._config.model_name!r}: {error}",
                "correct url (it usually ends in /v1) or model_name",
            )
        if isinstance(error, openai.APITimeoutError):
            return "endpoint_timeout"
        if _is_too_long(error):
            return "too_long"
        if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)):
            return "endpoint_refuses"
        return "endpoint_error"


def _api_key(config: JudgeConfig) -> str:
    if config.api_key_env is None:
        return "EMPTY"
    key = os.environ.get(config.api_key_env)
    if not key:
        raise BadInput(
            f"api_key_env names {config.api_key_env}, which is not set", f"export {config.api_key_env} or leave it out"
        )
    return key


def _is_too_long(error: Exception) -> bool:
    """Whether a refusal is about the prompt's length: by OpenAI's code or by what vLLM and others write."""
    text = str(error).lower()
    status = getattr(error, "status_code", None)
    return status == 413 or (status == 400 and any(f"context{x}" in text for x in ("_length", " length", " size")))


def _completions(response: Response) -> list[Completion]:
    tokens = response.usage.completion_tokens if response.usage else 0
    found = []
    for place, reply in enumerate(response.choices):
        # The endpoint counts tokens over all choices: booked on the first, so that they add up.
        counted = tokens if place == 0 else 0
        text, finish = reply.message.content, reply.finish_reason
        if finish == "content_filter" or reply.message.refusal:
            found.append(Completion(reply.message.refusal or text or "", "none", counted, fault="refused"))
        elif finish not in ("stop", "length"):
            found.append(Completion(text or "", "none", counted, fault=f"finish_{finish}"))
        elif text is None:
            found.append(Completion("", finish, counted, fault="empty_reply"))
        else:
            found.append(Completion(text, finish, counted))
    return found


def _weights(reply: Reply, question: Question) -> dict[str, float] | None:
    """The labels' probabilities where one is written; that one alone without log-probabilities; None if none is.

    A label counts right after the lead, or, where the lead was not written, as the first word of the reply.
    """
    text, labels = reply.message.content or "", question.labels
    after = text.lower().find(question.lead.lower())
    start = 0 if after < 0 else after + len(question.lead)
    if _ECHO.match(text[start:]):
        return None
    end = 0
    for place in (reply.logprobs.content if reply.logprobs else None) or []:
        end += len(place.token)
        if end <= start or not place.token.strip(_AROUND):
            continue
        if _label(place.token, labels) is None:
            return None
        found: dict[str, float] = {}
        for token in [place, *(place.top_logprobs or [])]:
            label = _label(token.token, labels)
            if label is not None:
                found[label] = max(found.get(label, _IMPOSSIBLE), token.logprob)
        return weights_of({label: found.get(label, _IMPOSSIBLE) for label in labels})
    word = next((word for word in text[start:].split() if word.strip(_AROUND)), "")
    written = _label(word, labels)
    return None if written is None else {label: float(label == written) for label in labels}


def _label(token: str, labels: Sequence[str]) -> str | None:
    """The label that a token is: an `a` is no A, but a `Yes` is a yes."""
    bare = token.strip(_AROUND)
    return next((label for label in labels if bare == label or (label.islower() and bare.lower() == label)), None)
