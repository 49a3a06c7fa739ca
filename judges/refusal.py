"""Why an endpoint gave no reply: what it said, and which fault that is."""

import json
from collections.abc import Mapping
from typing import Any

SAID = 300
"""Characters that are kept of an endpoint's words."""
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
"""What providers write about a prompt that they do not let through."""


class NoReply(Exception):
    """A request without a reply. `status` is the HTTP status, or the one that an error inside a 200
    names; 0: none."""

    def __init__(self, said: str, status: int = 0, param: str = "", fault: str = "") -> None:
        super().__init__(said)
        self.said, self.status, self.param = said, status, param
        self.fault = fault or _fault(status, said)

    @property
    def unpaid(self) -> bool:
        """Whether every further request would meet it as well, until somebody pays."""
        return self.status == 402 or "insufficient_quota" in self.said

    @property
    def of_form(self) -> bool:
        """Whether the request's form may be what is refused, and not its prompt; some say 403 to a
        parameter."""
        return self.fault == "endpoint_refuses" or (self.status == 403 and self.fault != "refused")


def _fault(status: int, said: str) -> str:
    text = said.lower()
    if status == 413 or (status in (400, 422) and any(words in text for words in _TOO_LONG)):
        return "too_long"
    if status in (400, 403, 422) and any(words in text for words in _MODERATED):
        return "refused"
    return "endpoint_refuses" if status in (400, 422) else "endpoint_error"


def refusal(status: int, body: Any, key: str | None) -> NoReply:
    """The refusal that `body` is, JSON or text, that came with HTTP `status`. `key` never gets into
    its words."""
    inner = error_in(body) if isinstance(body, Mapping) else None
    inner = {"message": body} if inner is None else inner
    code = inner.get("code")
    named = int(str(code)) if str(code).isdigit() and 400 <= int(str(code)) < 600 else status
    text = _words(inner)
    if isinstance(code, str) and not code.isdigit():
        text = f"{text} ({code})"
    where = f"HTTP {status}" + (f", error {named}" if named != status else "")
    return NoReply(f"{where}: {shortened(text, key)}", named, str(inner.get("param") or ""))


def error_in(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error object of a response, wherever servers put it; None if there is none."""
    error = body.get("error")
    if error:
        return error if isinstance(error, Mapping) else {"message": error}
    return body if str(body.get("object")).lower() == "error" or not body.get("choices") else None


def shortened(text: str, key: str | None) -> str:
    """One line of at most SAID characters. The key is taken out first: half of one would not be
    recognised."""
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line if len(line) <= SAID else f"{line[: SAID - 3]}..."


def _words(error: Mapping[str, Any]) -> str:
    """The message of an error object. A router's own says little: what the server behind it said
    comes with it."""
    found = next(
        (error[name] for name in ("message", "detail", "error", "errors") if error.get(name)), error
    )
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    behind = error.get("metadata")
    raw = behind.get("raw") if isinstance(behind, Mapping) else None
    return (
        f"{text}: {raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)}"
        if raw
        else text
    )
