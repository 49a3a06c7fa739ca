"""Requests to an OpenAI-compatible URL, adapted to what the endpoint accepts.

The HTTP client retries temporary refusals (429 and 5xx, with backoff, honouring `Retry-After`). An
endpoint that is unreachable is waited for, up to `patience_s`. A parameter that the endpoint
refuses is left out from then on, which is reported once. The first request is sent alone, so that
refused parameters are discovered once and not by every thread."""

import os
import threading
import time
from typing import Any

from common.errors import BadInput, RunFailed
from common.judge_settings import JudgeSettings
from judges.backend import BackendMonitor
from judges.parameters import ChatRequest, Parameters, parameters_of
from judges.refusal import NoReply, refusal, shortened
from judges.response import Response, parse_response

MAX_RETRIES = 4
"""Retries by the HTTP client of a request that was refused temporarily."""
RECONNECT_S = 2.0
"""Pause between two attempts to reach an unreachable endpoint, in seconds."""
NO_LOGPROBS = "no_logprobs"
"""Fault of a request for log-probabilities that the endpoint does not give."""


class Client:
    """One endpoint. Raises BadInput if the environment variable named for the key is not set."""

    def __init__(self, config: JudgeSettings, monitor: BackendMonitor) -> None:
        import openai

        self._config, self._monitor = config, monitor
        self._key = _api_key(config)
        self._http = openai.OpenAI(
            base_url=config.url,
            api_key=self._key or "EMPTY",
            timeout=config.timeout_s,
            max_retries=MAX_RETRIES,
        )
        self.parameters = parameters_of(config)
        """The parameters that the endpoint accepts, as far as known."""
        self._lock, self._first = threading.Lock(), threading.Lock()
        self._first_pending = True
        self._unreachable_since: float | None = None

    def close(self) -> None:
        self._http.close()

    def ask(self, request: ChatRequest, **extra: Any) -> Response:
        """The response to a request, sent without the parameters that the endpoint refuses.

        `extra` is sent in addition to the config's `extra`. Raises NoReply; BadInput or RunFailed
        for an error that every further request would meet as well."""
        try:
            with self._first:
                first, self._first_pending = self._first_pending, False
                if first:
                    return self._adapted(request, extra)
            return self._adapted(request, extra)
        except NoReply as error:
            self._raise_if_final(error)
            raise

    def _adapted(self, request: ChatRequest, extra: dict[str, Any]) -> Response:
        """Send with fewer parameters until the endpoint accepts the request.

        What was left out is remembered only if the request succeeds in the end. A request for
        log-probabilities is not sent without them, because its response would be useless."""
        start = tried = self.parameters
        while True:
            if request.logprobs and not tried.top:
                self.adopt(tried, start)
                raise NoReply("the endpoint gives no log-probabilities", fault=NO_LOGPROBS)
            try:
                response = self._post(request, tried, extra)
            except NoReply as error:
                fewer = tried.without_refused(error, request)
                if fewer is None:
                    raise
                tried = fewer
                continue
            self.adopt(tried, start)
            return response

    def adopt(self, accepted: Parameters, start: Parameters | None = None) -> None:
        """Use the findings of a request that began with `start` and succeeded with `accepted`."""
        with self._lock:
            before, self.parameters = (
                self.parameters,
                self.parameters.merged(accepted, start or self.parameters),
            )
        changes = self.parameters.changes_since(before, self._config.samples)
        if changes:
            settings = self.parameters.as_settings(parameters_of(self._config))
            self._monitor.note(
                f"{self._config.url}: {'; '.join(changes)} (to do so from the start, set"
                f" {settings})"
            )

    def _post(
        self, request: ChatRequest, parameters: Parameters, extra: dict[str, Any]
    ) -> Response:
        """Send one request, waiting for an endpoint that is unreachable."""
        import openai

        chat: Any = self._http.chat.completions.with_raw_response
        settings = parameters.settings(request)
        while True:
            try:
                body = {**self._config.extra, **extra}
                raw = chat.create(
                    model=self._config.model_name,
                    messages=request.messages,
                    extra_body=body,
                    **settings,
                )
            except openai.APIStatusError as error:
                self._unreachable_since = None
                raise refusal(error.status_code, _body(error.response), self._key) from None
            except openai.APITimeoutError:
                message = f"no response within timeout_s ({self._config.timeout_s:g} s)"
                raise NoReply(message, fault="endpoint_timeout") from None
            except openai.APIConnectionError as error:
                if self._gives_up_waiting():
                    raise NoReply(str(error), fault="endpoint_unreachable") from None
                time.sleep(RECONNECT_S)
                continue
            except (openai.OpenAIError, ValueError) as error:  # e.g. text that is not valid Unicode
                raise NoReply(shortened(str(error), self._key), fault="endpoint_error") from None
            self._unreachable_since = None
            return parse_response(raw.content, self._key)

    def _gives_up_waiting(self) -> bool:
        """Whether an unreachable endpoint has been waited for long enough, or a stop is
        requested."""
        self._unreachable_since = self._unreachable_since or time.monotonic()
        waited_s = time.monotonic() - self._unreachable_since
        return waited_s > self._config.patience_s or self._monitor.stop_requested()

    def _raise_if_final(self, error: NoReply) -> None:
        """Raise for errors that every further request would meet as well."""
        url, name = self._config.url, self._config.api_key_env
        if error.needs_payment:
            raise RunFailed(
                f"{url} asks for payment: {error.message}",
                "add credit to the account; the same command asks the missing questions",
            )
        if error.fault != "refused" and error.status in (401, 403):
            refused = f"the key in {name}" if name else "a request without a key"
            raise BadInput(
                f"{url} refuses {refused}: {error.message}",
                "set api_key_env to a variable with a key",
            )
        if error.status == 404:
            raise BadInput(
                f"{url} does not know the model {self._config.model_name!r}: {error.message}",
                "correct url (it usually ends in /v1) or model_name",
            )


def _api_key(config: JudgeSettings) -> str | None:
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
    """Body of an error response: JSON if it can be parsed, otherwise text."""
    try:
        return response.json()
    except ValueError:
        return response.text
