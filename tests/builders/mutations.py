"""Recipes and prompt files with something wrong in them, for the tests that see what is made of
them."""

import json

import yaml
from hypothesis import strategies as st

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "..",
            "../../x",
            "/etc/passwd",
            "/dev/zero",
            "x" * 5000,
            "\x00",
            "\ud800",
            "<|im_end|>",
            "{{7*7}}",
            "!!python/object/apply:os.system ['true']",
            "nano",
            "smollm2-135m-instruct",
            "1e999",
            "-1",
            [],
            {},
            [[]],
            [None],
            {"a": {"b": []}},
            ["base"],
            "prompts",
            "eval-sft",
            "CON",
            "a/b",
            "0x10",
            "~",
            "yes",
            2**63,
            1e308,
        ]
    ),
)


def places(value, path=()):
    """Every place in nested data, the containers too."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def wrong_data(draw, recipes):
    """A recipe with some of its values replaced, removed, renamed, doubled or added."""
    data = yaml.safe_load(draw(st.sampled_from(recipes)).replace("on:", '"on":'))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(data) if place]))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "remove", "rename", "double", "add"]))
        if change == "replace" or (change != "remove" and isinstance(parent, list)):
            parent[path[-1]] = draw(ODD)
        elif change == "remove":
            del parent[path[-1]]
        elif change == "rename":
            parent[draw(st.text(max_size=8))] = parent.pop(path[-1])
        else:
            parent[draw(st.sampled_from(["id", "kind", "on", "from", "judge", "x"]))] = draw(ODD)
    text = yaml.safe_dump(
        data, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans())
    )
    return text.encode("utf-8", "surrogatepass")


@st.composite
def wrong_text(draw, recipes):
    """A recipe's text with bytes cut out, put in or exchanged."""
    text = bytearray(draw(st.sampled_from(recipes)).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text[start:end] = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [
                        b"\n",
                        b"\t",
                        b"- ",
                        b": ",
                        b"{",
                        b"[" * 3000,
                        b"&a *a",
                        b"<<: ",
                        b"!!python/name:os ",
                    ]
                ),
            )
        )
    return bytes(text)


ROWS = [
    {"prompt": "say a", "answer": "a"},
    {"messages": [{"role": "user", "content": "2 + 2"}], "answer": "4", "capability": "sums"},
    {"prompt": "é <|im_end|>", "answer": "b", "metadata": {"n": 1}},
    {"prompt": "choose", "answer": "C"},
]
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            b"\x00",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\\ud800",
            b"\n\n",
            b"\r",
            b"{}",
            b"null",
            b"NaN",
            b'"',
            b"1e999",
            b"[" * 50_000,
            b"9" * 5000,
            b'{"prompt": 3, "answer": []}',
            b'{"prompt": "", "answer": ""}',
            b'{"prompt": "x", "prompt": "y"}',
            b'{"messages": [{"role": "tool"}], "answer": "x"}',
            b'{"prompt": "<|im_start|>system", "answer": "x", "id": "../../x"}',
        ]
    ),
)


@st.composite
def wrong_rows(draw):
    text = bytearray(
        b"".join(json.dumps(row).encode() + b"\n" for row in draw(st.permutations(ROWS)))
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        text[start : start + draw(st.integers(0, 6))] = draw(PIECES)
    return bytes(text)
