"""Checks of a chat template on a few words, before it is used for training or sampling.

A template that fails one of these fails silently: the model gets another prompt than the user
wrote, or learns answers without an end token, which are then all cut off."""

from jinja2 import TemplateError

from models.chat import Messages
from models.origin import ChatFormat

Roles = tuple[str, ...]
"""The roles of a chat, in order, e.g. ("system", "user")."""
FAILURES = (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""Errors that rendering a template raises; its own `raise_exception` is a TemplateError."""
WORDS = (
    "kestrel",
    "walnut",
    "harbour",
    "lantern",
    "meadow",
    "pebble",
    "saddle",
    "timber",
    "velvet",
    "willow",
)
ANSWER = "quartz"
OTHER = "give another template: `chat_template: FILE.jinja` under `model`"


def roles_of(messages: Messages) -> Roles:
    return tuple(message["role"] for message in messages)


def chat_of(roles: Roles) -> list[dict[str, str]]:
    """A chat of these roles in which every message is a different word."""
    return [
        {"role": role, "content": f"{WORDS[n % len(WORDS)]}{n}"} for n, role in enumerate(roles)
    ]


def unrenderable(chat_format: ChatFormat, roles: Roles) -> str | None:
    """Why a prompt with these roles cannot be rendered: the template raises, drops a message or
    reorders them."""
    messages = chat_of(roles)
    try:
        text = _render(chat_format, messages, opened=True)
    except FAILURES as error:
        return f"it raises: {line_of(error)}"
    positions = [text.find(message["content"]) for message in messages]
    if -1 in positions:
        return f"it leaves the {roles[positions.index(-1)]}'s words out"
    return None if positions == sorted(positions) else "it puts the messages into another order"


def wrong_ending(chat_format: ChatFormat, roles: Roles, trains: bool) -> list[tuple[str, str]]:
    """Problems with how the template begins and ends an answer to a prompt that it can render, each
    with a remedy. With `trains`, the answer must also be separable from its prompt, for
    training."""
    messages = chat_of(roles)
    try:
        closed, opened = (_render(chat_format, messages, opened=choice) for choice in (False, True))
        whole = _render(chat_format, _answered(messages), opened=False)
    except FAILURES as error:
        return [(f"it raises on a chat that ends in an answer: {line_of(error)}", OTHER)]
    problems = [_opening(closed, opened, whole, trains), _closing(chat_format, messages, whole)]
    return [problem for problem in problems if problem]


def _opening(closed: str, opened: str, whole: str, trains: bool) -> tuple[str, str] | None:
    """The problem if the text after the generation prompt is not the answer."""
    remedy = (
        "end the template with {% if add_generation_prompt %} and what comes before an answer; or "
        + OTHER
    )
    if not opened.startswith(closed):
        return (
            f"its generation prompt does not go on from the chat without it ({closed[-40:]!r})",
            remedy,
        )
    if not whole.startswith(opened):
        if not trains and opened != closed:
            return None  # a template that removes the thinking from earlier answers
        return (
            (
                "the chat with an answer does not begin with the prompt, which ends in"
                f" {opened[-40:]!r}"
            ),
            OTHER,
        )
    between = whole[len(opened) :].partition(ANSWER)[0]
    if between.strip():
        what = (
            "it has no generation prompt"
            if opened == closed
            else "its generation prompt is not whole"
        )
        return (
            (
                f"{what}: before an answer comes {between!r}, which the model would have to write"
                " itself"
            ),
            remedy,
        )
    return None


def _closing(chat_format: ChatFormat, messages: Messages, whole: str) -> tuple[str, str] | None:
    """The problem if an answer does not end in a stop token, blanks aside."""
    ids: list[int] = chat_format.tokenizer.apply_chat_template(
        _answered(messages), return_dict=False
    )
    while ids and not chat_format.tokenizer.decode(ids[-1:]).strip():
        ids = ids[:-1]
    if not ids or ids[-1] in chat_format.stop_ids:
        return None if ids else ("it renders nothing", OTHER)
    after, stops = (
        whole.rpartition(ANSWER)[2],
        chat_format.tokenizer.convert_ids_to_tokens(sorted(chat_format.stop_ids)),
    )
    named = " or ".join(map(repr, stops)) or "no token at all"
    said = (
        f"what comes after an answer is {after!r}"
        if after.strip()
        else "nothing comes after an answer"
    )
    remedy = (
        f"have the template write {stops[0]!r} after an answer"
        if stops
        else "give the tokenizer an eos_token"
    )
    also = (
        ", or name what does as eos_token_id in the folder's generation_config.json"
        if after.strip()
        else ""
    )
    return (
        f"{said}, but the engine stops at {named}: every answer would be cut off",
        f"{remedy}{also}; or {OTHER}",
    )


def _answered(messages: Messages) -> list[dict[str, str]]:
    return [*messages, {"role": "assistant", "content": ANSWER}]


def _render(chat_format: ChatFormat, messages: Messages, *, opened: bool) -> str:
    text: str = chat_format.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=opened
    )
    return text


def line_of(error: Exception) -> str:
    return " ".join(f"{error}".split())[:200] or type(error).__name__


def role_names(roles: Roles) -> str:
    """Roles as text, e.g. `system, user`."""
    return ", ".join(roles)
