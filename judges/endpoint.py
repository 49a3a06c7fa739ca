"""A judge behind an OpenAI-compatible URL.

The reference answer's likelihood needs vLLM's `prompt_logprobs` extension; an endpoint without it gives none, and the
verdicts say so. What goes wrong on the way is a fault of its own and never a failed attempt.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, Field

from common.errors import BadInput
from judges.attempts import Completion, Reply, mean_logprob
from judges.config import AttemptsJudge
from prompts.schema import Prompt

THREADS = 8
"""Prompts in flight at once."""
TIMEOUT_S = 120.0
"""Longest wait for one response, in seconds; the client tries twice more after a connection error or a 5xx."""
_IMPOSSIBLE = -9999.0
"""What vLLM writes for a log-probability of minus infinity, as JSON has none."""


class Message(BaseModel):
    content: str | None = None


class Choice(BaseModel):
    message: Message
    finish_reason: str | None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class Logprob(BaseModel):
    logprob: float


class Response(BaseModel):
    """What is read of a chat completion; the client itself takes any JSON for one."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None
    prompt_logprobs: list[dict[str, Logprob] | None] | None = None


class EndpointSource:
    """Attempts of a chat endpoint. BadInput if the environment variable named for the key is not set."""

    def __init__(self, config: AttemptsJudge, timeout_s: float = TIMEOUT_S, retries: int = 2) -> None:
        import openai

        self._config = config
        self._client = openai.OpenAI(
            base_url=config.url, api_key=_api_key(config), timeout=timeout_s, max_retries=retries
        )
        self._without_reference: str | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._client.close()

    def ask(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply]:
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(self._reply, prompts, seeds))

    def _reply(self, prompt: Prompt, seed: int) -> Reply:
        completions, prompt_tokens = self._attempts(prompt, seed)
        if prompt_tokens is None:
            answered = any(completion.fault is None for completion in completions)
            return Reply(completions, None, "endpoint_gives_no_usage" if answered else "no_attempt")
        return Reply(completions, *self._reference(prompt, prompt_tokens))

    def _attempts(self, prompt: Prompt, seed: int) -> tuple[list[Completion], int | None]:
        """As many completions as asked, and the prompt's length in tokens if the endpoint says it."""
        import openai

        wanted = self._config.attempts
        found: list[Completion] = []
        prompt_tokens = None
        while len(found) < wanted:
            try:
                # Some servers give one choice whatever `n` says: ask on, with another seed.
                response = self._ask(
                    prompt.messages,
                    n=wanted - len(found),
                    temperature=self._config.temperature,
                    max_tokens=self._config.max_tokens,
                    seed=(seed + len(found)) % 2**31,
                )
            except (openai.OpenAIError, ValueError) as error:
                return found + [_fault(self._reason(error))] * (wanted - len(found)), prompt_tokens
            prompt_tokens = response.usage.prompt_tokens if response.usage else None
            found += _completions(response)
        return found[:wanted], prompt_tokens

    def _ask(self, messages: list[dict[str, str]], **settings: Any) -> Response:
        """One request. Raises openai.OpenAIError, or ValueError if what comes back is no chat completion."""
        chat: Any = self._client.chat.completions.with_raw_response
        raw = chat.create(model=self._config.model_name, messages=messages, **settings)
        return Response.model_validate_json(raw.content)

    def _reference(self, prompt: Prompt, prompt_tokens: int) -> tuple[float | None, str | None]:
        """(mean log-probability a token, None) or (None, why not). The first refusal holds for all later prompts."""
        import openai

        if self._without_reference is not None:
            return None, self._without_reference
        extra = {"prompt_logprobs": 0, "add_generation_prompt": False, "continue_final_message": True}
        messages = [*prompt.messages, {"role": "assistant", "content": prompt.answer}]
        try:
            entries = self._ask(messages, max_tokens=1, extra_body=extra).prompt_logprobs
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return None, "too_long" if _is_too_long(error) else self._give_up("endpoint_refuses")
        except (openai.OpenAIError, ValueError) as error:
            return None, self._reason(error)
        if entries is None:
            return None, self._give_up("endpoint_gives_none")
        tokens = [list((entry or {}).values()) for entry in entries[prompt_tokens:]]
        if any(len(candidates) != 1 for candidates in tokens):
            return None, self._give_up("endpoint_gives_several_tokens")
        logprobs = [candidates[0].logprob for candidates in tokens]
        return (None, "not_finite") if min(logprobs, default=0.0) <= _IMPOSSIBLE else mean_logprob(logprobs)

    def _give_up(self, reason: str) -> str:
        with self._lock:
            self._without_reference = self._without_reference or reason
            return self._without_reference

    def _reason(self, error: Exception) -> str:
        """The fault that an error is. BadInput for those that every further request would meet as well."""
        import openai

        if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
            name = self._config.api_key_env
            given = f"the key in {name}" if name else "a request without a key"
            raise BadInput(f"{self._config.url} refuses {given}: {error}", "set api_key_env to a variable with a key")
        if isinstance(error, openai.NotFoundError):
            raise BadInput(
                f"{self._config.url} does not know the model {self._config.model_name!r}: {error}",
                "correct url (it usually ends in /v1) or model_name",
            )
        if isinstance(error, openai.APITimeoutError):
            return "endpoint_timeout"
        return "too_long" if _is_too_long(error) else "endpoint_error"


def _api_key(config: AttemptsJudge) -> str:
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
    return getattr(error, "status_code", None) == 400 and ("context_length" in text or "context length" in text)


def _completions(response: Response) -> list[Completion]:
    tokens = response.usage.completion_tokens if response.usage else 0
    found = []
    for place, choice in enumerate(response.choices):
        # The endpoint counts tokens over all choices: booked on the first, so that they add up.
        counted = tokens if place == 0 else 0
        text, finish = choice.message.content, choice.finish_reason
        if finish not in ("stop", "length"):
            found.append(Completion(text or "", "none", counted, fault=f"finish_{finish}"))
        elif text is None:
            found.append(Completion("", finish, counted, fault="empty_reply"))
        else:
            found.append(Completion(text, finish, counted))
    return found


def _fault(reason: str) -> Completion:
    return Completion("", "none", fault=reason)
