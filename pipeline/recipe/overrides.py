"""`--set a.b=value`: the recipe with single values replaced, as if the person had written them in
the file."""

import copy
from typing import Any

from common.errors import BadInput
from pipeline.recipe.problems import nearest
from pipeline.recipe.yaml_lines import DataPath, Located, dotted, load_text


def apply_overrides(located: Located, settings: list[str]) -> Located:
    """`located` with every `path=value` of `settings` applied in order.

    A step into a list is the id of one of its items (`stages.rl.steps=3`) or an index; the index
    after the last item appends. The value is read as YAML. Sections that the recipe left out are
    made; whether the fields exist is for the schema to say."""
    data, origins = copy.deepcopy(located.data), dict(located.origins)
    for setting in settings:
        words, separator, text = setting.partition("=")
        origin = f"--set {setting}"
        if not separator or not all(words.split(".")):
            raise BadInput(
                f"{origin}: not of the form a.b=value", "for example `--set stages.rl.steps=3`"
            )
        path = _put(data, words.split("."), load_text(text, origin).data, origin)
        # What was written below the replaced value is gone; errors in the new value are the
        # option's.
        origins = {known: place for known, place in origins.items() if known[: len(path)] != path}
        origins[path] = origin
    return Located(data=data, name=located.name, origins=origins)


def _put(data: Any, words: list[str], value: Any, origin: str) -> DataPath:
    """Set the value in place; returns the path it got."""
    path: DataPath = ()
    for word in words[:-1]:
        step = _step(data, word, path, origin)
        if isinstance(data, dict) and data.get(str(step)) is None:
            data[str(step)] = {}
        data, path = data[step], (*path, step)
    last = _step(data, words[-1], path, origin, append=True)
    if isinstance(data, list) and last == len(data):
        data.append(value)
    else:
        data[last] = value
    return (*path, last)


def _step(data: Any, word: str, path: DataPath, origin: str, append: bool = False) -> str | int:
    """`word` as a key of a mapping or an index of a list; with `append` also the one after its last
    item."""
    if isinstance(data, dict):
        return word
    if not isinstance(data, list):
        raise BadInput(
            f"{origin}: {dotted(path)} is {data!r} and has no {word!r} in it", "shorten the path"
        )
    if word.isdecimal() and int(word) < len(data) + append:
        return int(word)
    ids = [item.get("id") if isinstance(item, dict) else None for item in data]
    if word in ids:
        return ids.index(word)
    known = [str(name) for name in ids if name is not None]
    raise BadInput(
        f"{origin}: {dotted(path)} has no item {word!r} (it has {len(data)} items)",
        nearest(word, known),
    )
