"""Writes the suite `instructions`: topics times kinds of instruction, alone and together."""

from collections.abc import Iterator

from evals.written.instruction_kinds import (
    ALONE,
    Kind,
    Task,
    Topic,
    bullets,
    characters,
    ending,
    lines,
    lowercase,
    no_comma,
    paragraphs,
    postscript,
    sentences_exactly,
    title,
    without_noun,
    words_at_least,
    words_at_most,
    words_between,
)
from evals.written.row import Row, parts

PER_TOPIC = 8
_REQUESTS = (
    "Describe {}.",
    "Write about {}.",
    "Tell me something about {}.",
    "What do you know about {}?",
)
_ABOUT = {"bread": "how bread is made", "sea": "the sea", "dog": "a dog that waits for its family"}


def _together(*kinds: Kind) -> Kind:
    """Two instructions at once. The reply is the first kind's, changed as the second one asks."""

    def both(topic: Topic) -> Task:
        one, other = (kind(topic) for kind in kinds)
        reply, constraints = one.reply, [*one.constraints, *other.constraints]
        match kinds[1].__name__:
            case "lowercase":
                reply = reply.lower()
            case "title":
                reply = f"<<About {topic.name}>>\n\n{reply}"
            case "ending":
                reply = f"{reply} That is all about {topic.name}."
            case "postscript":
                reply = f"{reply}\n\nP.S. Ask me for more."
        return Task("combination", f"{one.asked} {other.asked}", constraints, reply, one.wrong)

    return both


TOGETHER = (
    _together(sentences_exactly, no_comma),
    _together(words_at_most, lowercase),
    _together(bullets, no_comma),
    _together(without_noun, lowercase),
    _together(paragraphs, no_comma),
    _together(words_at_least, ending),
    _together(words_between, no_comma),
    _together(words_at_least, title),
    _together(lines, lowercase),
    _together(characters, no_comma),
    _together(without_noun, postscript),
)
KINDS = (*ALONE, *TOGETHER)


def tasks() -> Iterator[tuple[str, str, Task]]:
    """Id, prompt and task of each prompt."""
    for number, part in enumerate(parts("topics.yaml")):
        topic = Topic(**part)
        for turn in range(PER_TOPIC):
            which = (number * PER_TOPIC + turn) % len(KINDS)
            task = KINDS[which](topic)
            request = _REQUESTS[(number + turn) % len(_REQUESTS)].format(topic.name)
            yield f"{topic.noun.replace(' ', '-')}-{which}", f"{request} {task.asked}", task
    yield from _in_languages()


def _in_languages() -> Iterator[tuple[str, str, Task]]:
    """Replies in another language than the request's, alone and with a length."""
    entries = parts("replies.yaml")
    for number, entry in enumerate(entries):
        wrong = entries[number - 1]
        rule = {"id": "language:response_language", "language": entry["code"]}
        for about, asked in _ABOUT.items():
            task = Task("language", asked, [rule], entry[about], wrong[about])
            prompt = f"Write one sentence about {asked}. Answer in {entry['language']} only."
            yield f"{about}-{entry['code']}", prompt, task


def rows() -> Iterator[Row]:
    """The rows of the suite. The answer is a reply that follows the instructions."""
    for id, prompt, task in tasks():
        yield {
            "id": id,
            "prompt": prompt,
            "answer": task.reply,
            "capability": task.capability,
            "metadata": {"instructions": task.constraints},
        }
