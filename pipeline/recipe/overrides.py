"""`--set a.b=value`: replaces single values of a recipe, as if the file contained them."""

import copy
from typing import Any

from common.errors import BadInput
from common.yaml_files.lines import DataPath, Located, dotted, load_text
from common.yaml_files.problems import nearest


def apply_overrides(located: Located, settings: list[str]) -> Located:
    """`located` with every `path=value` of `settings` applied in order.

    An item of a list is named by its id (`stages.rl.steps=3`) or its index; the index after the
    last item appends. The value is parsed as YAML. Missing sections are created. Unknown fields
    are left to the schema."""
    data, origins = copy.deepcopy(located.data), dict(located.origins)
    for setting in settings:
        names, separator, text = setting.partition("=")
        origin = f"--set {setting}"
        if not separator or not all(names.split(".")):
            raise BadInput(
                f"{origin}: not of the form a.b=value", "for example `--set stages.rl.steps=3`"
            )
        path = _put(data, names.split("."), load_text(text, origin).data, origin)
        # Errors in the new value point to the option, not to lines of the replaced value.
        origins = {known: place for known, place in origins.items() if known[: len(path)] != path}
        origins[path] = origin
    return Located(data=data, name=located.name, origins=origins)


def _put(data: Any, names: list[str], value: Any, origin: str) -> DataPath:
    """Set the value in place and return its path."""
    path: DataPath = ()
    for name in names[:-1]:
        step = _step(data, name, path, origin)
        if isinstance(data, dict) and data.get(str(step)) is None:
            data[str(step)] = {}
        data, path = data[step], (*path, step)
    last = _step(data, names[-1], path, origin, append=True)
    if isinstance(data, list) and last == len(data):
        data.append(value)
    else:
        data[last] = value
    return (*path, last)


def _step(data: Any, name: str, path: DataPath, origin: str, append: bool = False) -> str | int:
    """`name` as a key of a mapping or an index of a list. With `append` the index may be the one
    after the last item."""
    if isinstance(data, dict):
        return name
    if not isinstance(data, list):
        raise BadInput(
            f"{origin}: {dotted(path)} is {data!r} and has no {name!r} in it", "shorten the path"
        )
    if name.isdecimal() and int(name) < len(data) + append:
        return int(name)
    ids = [item.get("id") if isinstance(item, dict) else None for item in data]
    if name in ids:
        return ids.index(name)
    known = [str(id) for id in ids if id is not None]
    raise BadInput(
        f"{origin}: {dotted(path)} has no item {name!r} (it has {len(data)} items)",
        nearest(name, known),
    )
