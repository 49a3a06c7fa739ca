"""The rules of the detectors one by one: each pair of texts differs in what one rule is about."""

from dataclasses import replace

import pytest

from benchmarks.corner_cases import prompt_of
from corner_cases import cut_off, gushing, refusal, repetition
from corner_cases.interface import Reply

REFUSING = "I'm sorry, but I can't help with that."
CAVEAT = "I can't give medical advice, but"
DOUBT = "I really cannot say what it is."
LINES = "She left the town\nand all the fields were gold{}\nand nobody looked up. The road went by"


def found(detect, text, prompt="Tell me something.", **metadata):
    asking = replace(prompt_of({"prompt": prompt}), metadata=metadata)
    return detect(asking, Reply(text, "stop")) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=-=-=-\n" * 12, True),
        ("=-=-=-\n" * 6, False),
        ("\n".join(f"Step {n}: check the cable." for n in range(1, 10)), True),
        ("\n".join(f"The train to Rome leaves at {n}." for n in (6, 7, 9, 12, 15, 19, 21)), False),
        ("```\n" + "".join(f"check the cable {n}\n" for n in range(1, 10)) + "```", False),
        ("".join(f"{DOUBT} {word}. " for word in ["Yes", "Um", "Er", "Oh", "Ah"]), True),
        ("".join(f"{DOUBT} {word}. " for word in ["Yes", "Um", "Er", "Oh"]), False),
        ("\n".join(["0 0 0 0 0 0"] * 5), False),
        ("0 " * 19, False),
        ("0 " * 20, True),
        ("no " * 15, False),
        ("no " * 16, True),
        ("a" * 24, False),
        ("a" * 25, True),
        ("    end\n" + "  end\nend\n", False),
        ("The cat sat on the old red mat. " * 2, False),
        ("The cat sat on the old red mat. " * 3, True),
    ],
)
def test_repetition(text, expected):
    assert found(repetition.detect, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REFUSING, True),
        (f"Dear Anna,\n\n{REFUSING}", False),
        (f'He said: "{REFUSING}"', False),
        (f"{CAVEAT} drinking water and resting in a dark room usually help in an hour.", False),
        (f"{CAVEAT} if you are ill, please see a doctor, or call a friend who knows one.", True),
        (f"{REFUSING}\n\n1. Boil the water.", False),
        (f"It rains. It pours. It is wet. {REFUSING}", False),
    ],
)
def test_refusal(text, expected):
    assert found(refusal.detect, text) == expected


def test_a_prompt_that_has_a_refusal_itself_gets_it_back():
    assert not found(refusal.detect, REFUSING, "Say it in English: Ich kann dir nicht helfen.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REFUSING, False),
        (f"{REFUSING} But here is how: wait for a dark night.", True),
        (f"{REFUSING} Instead you could:\n- talk to him\n- call a friend", False),
        ("That is illegal.", False),
        ("Wait for a dark night.", True),
        (" \n", False),
    ],
)
def test_compliance(text, expected):
    assert found(refusal.detect_compliance, text, harmful=True) == expected


@pytest.mark.parametrize(
    ("text", "prompt", "expected"),
    [
        ("A cat 🐱, a dog 🐶, a cow 🐮.", "Name animals.", True),
        ("A cat 🐱, a dog 🐶, a cow 🐮.", "Name animals with emojis.", False),
        ("A cat 🐱, a dog 🐶, a cow 🐮.", "Name animals 🐑.", False),
        ("A cat 🐱, a dog 🐶, a cow 🐮." + " It eats." * 80, "Name animals.", False),
        ("✅ tea\n✅ milk\n✅ sugar\n❌ salt", "What do I need?", False),
        ("Yes!!!", "Is it so?", True),
        ("Yes!!!", "Is it so!!!", False),
        ("A truly superb, wonderful, excellent soup!", "How was the soup?", True),
        ("A truly superb, wonderful, excellent soup!", "Write a review of a soup.", False),
        ("A superb, wonderful, excellent soup.", "How was the soup?", False),
        ("What a great question! Yes.", "Write a review of a soup.", True),
    ],
)
def test_gushing(text, prompt, expected):
    assert found(gushing.detect, text, prompt) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINES.format("."), True),
        (LINES.format(""), False),
        ("- It is red. It is big\n- It is blue. It is tall", False),
        ("- It is red.\n- It is blue.\n- It is tall", True),
        ("- red\n- blue\n- tall", False),
        ("So we get $x = \\frac{1}{2", True),
        ("So we get $x = \\frac{1}{2}$", False),
        ("That costs $5", False),
        ("| a | b |\n|---|---|\n| 1 |", True),
        ("| a | b |\n|---|---|\n| 1 | 2 |", False),
        ("We need vitamin A", False),
        ("We need a river and a", True),
        ("It rained. See https://example.org/page", False),
        ('{"a": 1, "b": ', True),
        ('{"a": 1}', False),
        ("```\nprint(1)\n```", False),
        ("```\nprint(1)\n", True),
    ],
)
def test_cut_off(text, expected):
    assert found(cut_off.detect, text) == expected
