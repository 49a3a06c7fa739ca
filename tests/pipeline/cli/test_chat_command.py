"""`uphill chat`: the conversation, its commands, Ctrl-C and full contexts; replies are scripted."""

import io
import signal
import sys
import unicodedata

import pytest

from common.errors import BadInput
from pipeline.cli.chat import Conversation, Sampling, Side
from rollouts.talk.client import NoRoom, Reply

HOSTILE = "\x1b]0;owned\x07 \u202egnp \x9b2J"


class Scripted:
    """A checkpoint that repeats the last message, in pieces of three characters."""

    def __init__(self, name="one", room=1_000):
        self.name, self.room, self.asked, self.stopped = name, room, [], False
        self.interrupt_at = None

    def ask(self, messages, temperature, max_tokens, seed):
        self.asked.append([dict(message) for message in messages])
        self.sampling, self.stopped = (temperature, max_tokens, seed), False

    def pieces(self):
        messages = self.asked[-1]
        if sum(len(message["content"]) for message in messages) > self.room:
            raise NoRoom(f"{self.name}: no room", "begin a new one with /reset")
        text = f"[{messages[-1]['content']}]"
        for start in range(0, len(text), 3):
            if start == self.interrupt_at:
                signal.raise_signal(signal.SIGINT)
            if self.stopped:
                yield Reply(text[:start], "stopped", None)
                return
            yield text[start : start + 3]
        yield Reply(text, "stop", len(text))

    def stop(self):
        self.stopped = True


@pytest.fixture
def talk(monkeypatch):
    def run(talkers, lines, terminal=False, **sampling):
        given = iter(lines)

        def typed(prompt):
            line = next(given, None)
            if line is None or isinstance(line, BaseException):
                raise line or EOFError
            return line

        monkeypatch.setattr("builtins.input", typed)
        if not terminal:
            monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{one}\n" for one in lines)))
        sides = [Side(talker) for talker in talkers]
        Conversation(sides, Sampling(**sampling), terminal).run()
        return sides

    return run


def contents(messages):
    return [message["content"] for message in messages]


def test_a_conversation_is_remembered_until_a_reset(talk, capsys):
    one = Scripted()
    talk([one], ["a", "b", "/reset", "c", "/quit", "d"], system="Be brief.", temperature=0.5)
    assert list(map(contents, one.asked)) == [
        ["Be brief.", "a"],
        ["Be brief.", "a", "[a]", "b"],
        ["Be brief.", "c"],
    ]
    assert capsys.readouterr() == ("[a]\n[b]\n[c]\n", "") and one.sampling[:2] == (0.5, 256)


def test_a_seed_gives_the_same_replies_and_each_turn_its_own(talk):
    seeds = []
    for _ in range(2):
        one = Scripted()
        for _turn in talk([one], ["a"], seed=3):
            seeds.append(one.sampling[2])
    other = Scripted()
    talk([other], ["a", "b"], seed=3)
    assert seeds[0] == seeds[1] != other.sampling[2]


def test_two_checkpoints_have_their_own_replies_and_memory(talk, capsys):
    one, two = Scripted("one"), Scripted("two")
    sides = talk([one, two], ["a", HOSTILE])
    assert contents(two.asked[1]) == ["a", "[a]", HOSTILE.strip()]
    assert sides[0].messages is not sides[1].messages
    out = capsys.readouterr().out
    assert out.startswith("one: [a]\ntwo: [a]\none: [\\x1b]0;owned\\x07 \\u202egnp \\x9b2J]")


@pytest.mark.parametrize("count", [1, 2])
def test_control_c_stops_the_reply_and_not_the_program(talk, capsys, count):
    talkers = [Scripted(name) for name in ("one", "two")[:count]]
    talkers[0].interrupt_at = 6
    before = signal.getsignal(signal.SIGINT)
    sides = talk(talkers, ["abcdefghijkl", KeyboardInterrupt(), "next"], terminal=True)
    assert contents(sides[0].messages)[:2] == ["abcdefghijkl", "[abcde"]
    assert talkers[0].asked[1][-1]["content"] == "next"
    out, err = capsys.readouterr()
    assert "[abcde" in out and "(stopped)" in out + err and "Ctrl-D ends" in err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_context_offers_a_reset_and_forgets_the_message(talk, capsys):
    one = Scripted(room=8)
    talk([one], ["a", "too long", "b"], terminal=True)
    assert contents(one.asked[-1]) == ["a", "[a]", "b"]
    assert "begin a new one with /reset" in capsys.readouterr().err
    with pytest.raises(BadInput, match="no room"):
        talk([Scripted(room=4)], ["too long"])


def test_replies_are_shown_as_text(talk, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    talk([Scripted()], [HOSTILE], terminal=True)
    talk([Scripted("one"), Scripted(f"two {HOSTILE}")], [f"{HOSTILE} [b]x :heart:"], terminal=True)
    out = capsys.readouterr().out
    steering = {one for one in out if unicodedata.category(one) in ("Cc", "Cf", "Cs")}
    assert steering == {"\n"} and "[b]x :heart:" in out.replace("\n", "")
