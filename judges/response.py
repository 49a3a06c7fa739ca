"""Parse a chat completion. Servers differ in the details, so only the fields needed here are
required."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from judges.backend import Completion
from judges.refusal import NoReply, error_in, refusal, shortened

MIN_LOGPROB = -9999.0
"""What vLLM sends for a log-probability of minus infinity, which JSON cannot represent."""
_CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens"}
_FILTERED = {
    "content_filter",
    "safety",
    "sensitive",
    "recitation",
    "prohibited_content",
    "blocklist",
    "refusal",
}
_ABORTED = {"error", "abort", "network_error", "insufficient_system_resource"}
_TOOL_CALL = {"tool_calls", "function_call", "tool_use"}
"""Finish reasons in lower case. With any other finish reason, or none, a reply with text is
complete."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    logprob: float
    top: tuple["Token", ...] = ()
    """The likeliest tokens at its position."""


@dataclass(frozen=True, slots=True)
class ResponseChoice:
    """One choice of a chat completion."""

    text: str | None
    """The text for the reader, without reasoning that the server returns separately."""
    has_reasoning: bool
    """Whether the server returned reasoning separately."""
    refusal: str
    finish: str
    """The server's own finish reason; `null` if it gave none."""
    tokens: tuple[Token, ...] = ()
    """With log-probabilities, if the server gives them. Those of the reasoning may come first."""
    error: str = ""
    """The error that interrupted it."""


@dataclass(frozen=True, slots=True)
class Response:
    choices: list[ResponseChoice]
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    prompt_logprobs: list[list[float]] = field(default_factory=list)
    """vLLM extension: for each prompt token, the log-probabilities given for it; none for the
    first."""


def parse_response(content: bytes, key: str | None) -> Response:
    """The response in the body of an HTTP 200. Raises NoReply if it holds an error or is not a chat
    completion."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        text = shortened(content.decode(errors="replace"), key)
        raise NoReply(f"HTTP 200 without a chat completion: {text}", fault="endpoint_error")
    if error_in(body) is not None:
        raise refusal(200, body, key)
    usage = _mapping(body.get("usage"))
    prompt, completion = (
        _number(usage.get("prompt_tokens")),
        _number(usage.get("completion_tokens")),
    )
    choices = [_choice(_mapping(choice), key) for choice in _list(body["choices"])]
    entries = [_mapping(entry).values() for entry in _list(body.get("prompt_logprobs"))]
    prompt_logprobs = [
        [_logprob(_mapping(candidate).get("logprob")) for candidate in entry] for entry in entries
    ]
    return Response(
        choices, None if prompt is None else int(prompt), int(completion or 0), prompt_logprobs
    )


def completions(response: Response, how: str = "") -> list[Completion]:
    """Each choice as a completion or a fault; `how` as in `Reply`."""
    return [
        # The endpoint counts tokens over all choices. The first choice carries the whole count.
        _completion(choice, response.completion_tokens if place == 0 else 0, how)
        for place, choice in enumerate(response.choices)
    ]


def _completion(choice: ResponseChoice, tokens: int, how: str) -> Completion:
    text, finish = choice.text or "", choice.finish.lower()
    if finish in _FILTERED or choice.refusal:
        return Completion(choice.refusal or text, "none", tokens, fault="refused")
    if finish in _CUT_OFF or (choice.has_reasoning and not text.strip()):
        # Reasoning alone has not reached its answer, whatever the finish reason.
        return Completion(text, "length", tokens, how=how)
    if finish in _ABORTED:
        message = choice.error or choice.finish
        return Completion(message, "none", tokens, fault="endpoint_error")
    if finish in _TOOL_CALL:
        return Completion(text, "none", tokens, fault=f"finish_{finish}")
    if choice.text is None:
        return Completion("", "none", tokens, fault="empty_reply")
    return Completion(text, choice.finish, tokens, how=how)


def _logprob(value: Any) -> float:
    """A log-probability. Minus infinity, NaN and a missing value become MIN_LOGPROB."""
    number = _number(value)
    return MIN_LOGPROB if number is None or math.isnan(number) else max(number, MIN_LOGPROB)


def _choice(choice: Mapping[str, Any], key: str | None) -> ResponseChoice:
    message = _mapping(choice.get("message"))
    parts = message.get("content")
    separate = any(
        message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details")
    )
    inline = any(_mapping(part).get("type") in ("thinking", "reasoning") for part in _list(parts))
    finish = choice.get("finish_reason")
    refused = message.get("refusal")
    return ResponseChoice(
        text=_text(parts),
        has_reasoning=separate or inline,
        refusal=refused if isinstance(refused, str) else "",
        finish=finish if isinstance(finish, str) and finish else "null",
        tokens=_tokens(_mapping(choice.get("logprobs")).get("content")),
        error=refusal(200, choice, key).message if choice.get("error") else "",
    )


def _text(content: Any) -> str | None:
    """The text of a message's content, which is a string or a list of parts; None if there is no
    text."""
    if isinstance(content, str):
        return content
    parts = [
        part if isinstance(part, str) else _mapping(part).get("text") for part in _list(content)
    ]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if texts else None


def _tokens(content: Any) -> tuple[Token, ...]:
    """The tokens, or none at all if one is unreadable: the positions of the others would be
    unknown."""
    entries = [_mapping(entry) for entry in _list(content)]
    if any(not isinstance(entry.get("token"), str) for entry in entries):
        return ()
    return tuple(
        Token(entry["token"], _logprob(entry.get("logprob")), _top(entry)) for entry in entries
    )


def _top(entry: Mapping[str, Any]) -> tuple[Token, ...]:
    candidates = [_mapping(candidate) for candidate in _list(entry.get("top_logprobs"))]
    return tuple(
        Token(candidate["token"], _logprob(candidate.get("logprob")))
        for candidate in candidates
        if isinstance(candidate.get("token"), str)
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
