"""What a chat template must do, tried on a few words before anything is trained or sampled with it.

A template that fails one of these does so silently: the model is shown another prompt than the
person wrote, or learns answers without an end and is then cut off every time."""

from jinja2 import TemplateError

from models.chat import Messages
from models.origin import Speech

Shape = tuple[str, ...]
"""The roles of a chat, in order, e.g. ("system", "user")."""
FAILURES = (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What rendering a template raises: its own `raise_exception` is a TemplateError."""
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


def shape_of(messages: Messages) -> Shape:
    return tuple(message["role"] for message in messages)


def chat_of(shape: Shape) -> list[dict[str, str]]:
    """A chat of these roles in which every message is a word of its own."""
    return [
        {"role": role, "content": f"{WORDS[n % len(WORDS)]}{n}"} for n, role in enumerate(shape)
    ]


def unrenderable(speech: Speech, shape: Shape) -> str | None:
    """Why a prompt of this shape cannot be put to the model: the template raises, or loses or
    reorders what is said."""
    messages = chat_of(shape)
    try:
        text = _render(speech, messages, opened=True)
    except FAILURES as error:
        return f"it raises: {line_of(error)}"
    places = [text.find(message["content"]) for message in messages]
    if -1 in places:
        return f"it leaves the {shape[places.index(-1)]}'s words out"
    return None if places == sorted(places) else "it puts the messages into another order"


def wrong_ending(speech: Speech, shape: Shape, trains: bool) -> list[tuple[str, str]]:
    """What is wrong with how the template begins and ends an answer to a prompt of a shape that it
    can render, each with a remedy. With `trains`, whoever learns the answer must be able to tell it
    from its prompt."""
    messages = chat_of(shape)
    try:
        closed, opened = (_render(speech, messages, opened=choice) for choice in (False, True))
        whole = _render(speech, _answered(messages), opened=False)
    except FAILURES as error:
        return [(f"it raises on a chat that ends in an answer: {line_of(error)}", OTHER)]
    found = [_opening(closed, opened, whole, trains), _closing(speech, messages, whole)]
    return [problem for problem in found if problem]


def _opening(closed: str, opened: str, whole: str, trains: bool) -> tuple[str, str] | None:
    """With the generation prompt the next word must be the answer's first."""
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
        if (
            not trains and opened != closed
        ):  # as with a template that takes the thinking out of earlier answers
            return None
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


def _closing(speech: Speech, messages: Messages, whole: str) -> tuple[str, str] | None:
    """An answer must end in a token at which the engine stops; blanks may follow it."""
    ids: list[int] = speech.tokenizer.apply_chat_template(_answered(messages), return_dict=False)
    while ids and not speech.tokenizer.decode(ids[-1:]).strip():
        ids = ids[:-1]
    if not ids or ids[-1] in speech.ends:
        return None if ids else ("it renders nothing", OTHER)
    after, stops = (
        whole.rpartition(ANSWER)[2],
        speech.tokenizer.convert_ids_to_tokens(sorted(speech.ends)),
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


def _render(speech: Speech, messages: Messages, *, opened: bool) -> str:
    text: str = speech.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=opened
    )
    return text


def line_of(error: Exception) -> str:
    return " ".join(f"{error}".split())[:200] or type(error).__name__


def spoken(shape: Shape) -> str:
    """A shape in words, e.g. `system, user`."""
    return ", ".join(shape)
