"""Requests to an OpenAI-compatible URL, asked in the way that it takes them.

The HTTP client repeats what the server refuses for now (429 and 5xx, with backoff, as long as
`Retry-After` says); an endpoint that is gone is waited for as long as `patience_s`. A parameter
that is refused is done without, which is said once; the first request goes alone, so that it is
found out once."""

import os
import threading
import time
from typing import Any

from common.errors import BadInput, RunFailed
from judges.backend import Line
from judges.config import JudgeConfig
from judges.parameters import Parameters, Wish, parameters_of
from judges.refusal import NoReply, refusal, shortened
from judges.response import Response, read

ATTEMPTS = 4
"""Times that the client repeats a request that was refused for now."""
WAIT_S = 2.0
"""Between two looks for an endpoint that is gone, in seconds."""
NO_LOGPROBS = "no_logprobs"
"""Fault of a request for log-probabilities that are not to be had."""


class Client:
    """One endpoint. BadInput if the environment variable named for the key is not set."""

    def __init__(self, config: JudgeConfig, line: Line) -> None:
        import openai

        self._config, self._line = config, line
        self._key = _api_key(config)
        self._http = openai.OpenAI(
            base_url=config.url,
            api_key=self._key or "EMPTY",
            timeout=config.timeout_s,
            max_retries=ATTEMPTS,
        )
        self.parameters = parameters_of(config)
        """As far as is known by now."""
        self._lock, self._first = threading.Lock(), threading.Lock()
        self._untried = True
        self._gone_since: float | None = None

    def close(self) -> None:
        self._http.close()

    def ask(self, wish: Wish, **more: Any) -> Response:
        """A request without the parameters that the endpoint refuses. `more` goes beside what
        `extra` says.

        Raises NoReply, and BadInput or RunFailed for what every further request would meet as well.
        """
        try:
            with self._first:
                first, self._untried = self._untried, False
                if first:
                    return self._adapted(wish, more)
            return self._adapted(wish, more)
        except NoReply as error:
            self._raise_if_final(error)
            raise

    def _adapted(self, wish: Wish, more: dict[str, Any]) -> Response:
        """What is done without counts from now on only if the request went through in the end.

        One for log-probabilities that are not to be had is not sent without them: nobody has a use
        for that."""
        start = tried = self.parameters
        while True:
            if wish.logprobs and not tried.top:
                self.adopt(tried, start)
                raise NoReply("the endpoint gives no log-probabilities", fault=NO_LOGPROBS)
            try:
                response = self._post(wish, tried, more)
            except NoReply as error:
                other = tried.less(error, wish)
                if other is None:
                    raise
                tried = other
                continue
            self.adopt(tried, start)
            return response

    def adopt(self, found: Parameters, start: Parameters | None = None) -> None:
        """Ask as `found` from now on, which a request that began with `start` has found out."""
        with self._lock:
            before, self.parameters = (
                self.parameters,
                self.parameters.also(found, start or self.parameters),
            )
        news = self.parameters.since(before, self._config.samples)
        if news:
            setting = self.parameters.setting(parameters_of(self._config))
            self._line.note(
                f"{self._config.url}: {'; '.join(news)} (to ask so from the start: {setting})"
            )

    def _post(self, wish: Wish, parameters: Parameters, more: dict[str, Any]) -> Response:
        """One request. An endpoint that is gone is waited for."""
        import openai

        chat: Any = self._http.chat.completions.with_raw_response
        settings = parameters.settings(wish)
        while True:
            try:
                body = {**self._config.extra, **more}
                raw = chat.create(
                    model=self._config.model_name,
                    messages=wish.messages,
                    extra_body=body,
                    **settings,
                )
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

    def _raise_if_final(self, error: NoReply) -> None:
        """For errors that every further request would meet as well."""
        url, name = self._config.url, self._config.api_key_env
        if error.unpaid:
            raise RunFailed(
                f"{url} wants to be paid: {error.said}",
                "add credit there; the same command asks what is missing",
            )
        if error.fault != "refused" and error.status in (401, 403):
            given = f"the key in {name}" if name else "a request without a key"
            raise BadInput(
                f"{url} refuses {given}: {error.said}", "set api_key_env to a variable with a key"
            )
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
            f"api_key_env names {config.api_key_env}, which is not set",
            f"export {config.api_key_env} or leave it out",
        )
    return key


def _body(response: Any) -> Any:
    """An error's body, as JSON where it is some."""
    try:
        return response.json()
    except ValueError:
        return response.text
