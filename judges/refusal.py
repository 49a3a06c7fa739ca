"""Why an endpoint gave no reply: its error message, and the fault that follows from it."""

import json
from collections.abc import Mapping
from typing import Any

MAX_QUOTED_CHARS = 300
"""Longest part of an endpoint's message that is kept, in characters."""
_TOO_LONG = (
    "context_length",
    "context length",
    "context size",
    "context window",
    "exceed_context",
    "prompt is too long",
    "input is too long",
    "maximum input length",
    "too many tokens",
)
"""Phrases with which providers refuse a prompt that exceeds the context."""
_MODERATED = (
    "content_filter",
    "content_policy",
    "content management policy",
    "content exists risk",
    "responsibleai",
    "data_inspection_failed",
    "moderation",
    "flagged",
)
"""Phrases with which providers refuse a prompt that their moderation blocks."""


class NoReply(Exception):
    """A request failed.

    `message` is the endpoint's error message. `status` is the HTTP status, or the status named by
    an error inside an HTTP 200; 0: none. `param` is the request parameter that the error names."""

    def __init__(self, message: str, status: int = 0, param: str = "", fault: str = "") -> None:
        super().__init__(message)
        self.message, self.status, self.param = message, status, param
        self.fault = fault or _fault(status, message)

    @property
    def needs_payment(self) -> bool:
        """Whether every further request fails as well until the account has credit."""
        return self.status == 402 or "insufficient_quota" in self.message

    @property
    def may_concern_parameters(self) -> bool:
        """Whether a request parameter may be the cause, rather than the prompt. Some endpoints
        answer 403 to a parameter."""
        return self.fault == "endpoint_refuses" or (self.status == 403 and self.fault != "refused")


def _fault(status: int, message: str) -> str:
    text = message.lower()
    if status == 413 or (status in (400, 422) and any(phrase in text for phrase in _TOO_LONG)):
        return "too_long"
    if status in (400, 403, 422) and any(phrase in text for phrase in _MODERATED):
        return "refused"
    return "endpoint_refuses" if status in (400, 422) else "endpoint_error"


def refusal(status: int, body: Any, key: str | None) -> NoReply:
    """The error in `body` (JSON or text), received with HTTP `status`. The API key `key` never
    appears in its message."""
    inner = error_in(body) if isinstance(body, Mapping) else None
    inner = {"message": body} if inner is None else inner
    code = inner.get("code")
    named = int(str(code)) if str(code).isdigit() and 400 <= int(str(code)) < 600 else status
    text = _message_of(inner)
    if isinstance(code, str) and not code.isdigit():
        text = f"{text} ({code})"
    where = f"HTTP {status}" + (f", error {named}" if named != status else "")
    return NoReply(f"{where}: {shortened(text, key)}", named, str(inner.get("param") or ""))


def error_in(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error object of a response, wherever the server puts it; None if there is none."""
    error = body.get("error")
    if error:
        return error if isinstance(error, Mapping) else {"message": error}
    return body if str(body.get("object")).lower() == "error" or not body.get("choices") else None


def shortened(text: str, key: str | None) -> str:
    """The text on one line, at most MAX_QUOTED_CHARS characters.

    The API key is removed first: a key cut in half would not be recognised."""
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line if len(line) <= MAX_QUOTED_CHARS else f"{line[: MAX_QUOTED_CHARS - 3]}..."


def _message_of(error: Mapping[str, Any]) -> str:
    """The message of an error object.

    A router's own message says little, so the message of the server behind it is appended."""
    content = next(
        (error[name] for name in ("message", "detail", "error", "errors") if error.get(name)), error
    )
    text = _as_text(content)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{text}: {_as_text(raw)}" if raw else text


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
