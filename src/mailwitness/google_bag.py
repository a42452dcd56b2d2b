"""Parameters of Google's Reports API as one bag, for the forms that SQL does not rewrite by plain replacement.

A parameter is an object with a name and, under the name of its type, a value; messages nest in messages. Source: the activities resource of the
Reports API, ``events[].parameters[]``. The macros of content/macros/google.sql do the usual form; what comes here is rare: parameters
without a value, with the value before the name, or nested deeper than Gmail's log does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

Parameter = dict[str, Any]  # Any: JSON values, numbers as `_Number`

_LISTS = ("multiValue", "multiIntValue", "multiBoolValue")
_SINGLE = ("value", "intValue", "boolValue")
_VALUES = frozenset({*_LISTS, *_SINGLE, "messageValue", "multiMessageValue"})


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection ``mw_google_nested(text)``: a list of parameters as the text of a bag, '' where it is none."""
    connection.create_function("mw_google_nested", nested, ["VARCHAR"], "VARCHAR")


def nested(text: str) -> str:
    """Return the bag of a JSON list of parameters as JSON text; '' when the text is no such list.

    A list in which a parameter is unusual has all its plain values as text, whatever their type.
    """
    try:
        parameters = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        return _bag(parameters, is_odd=_any_odd(parameters)) if isinstance(parameters, list) else ""
    except (ValueError, RecursionError):
        return ""


def _any_odd(parameters: Any) -> bool:  # noqa: ANN401 - a JSON value
    """Tell whether a parameter anywhere has no value, an empty list of messages, or its value before its name."""
    if isinstance(parameters, list):
        return any(map(_any_odd, parameters))
    if not isinstance(parameters, dict):
        return False
    names = list(parameters)
    is_odd = (
        names == ["name"] or (names[:1] and names[0] in _VALUES) or parameters.get("multiMessageValue") == []
    )
    return bool(is_odd) or any(map(_any_odd, parameters.values()))


def _bag(parameters: Any, *, is_odd: bool) -> str:  # noqa: ANN401 - a JSON value
    pairs = [
        f"{_text(parameter.get('name') or '')}:{_value(parameter, is_odd=is_odd)}"
        for parameter in (parameters if isinstance(parameters, list) else [])
        if isinstance(parameter, dict)
    ]
    return "{" + ",".join(pairs) + "}"


def _value(parameter: Parameter, *, is_odd: bool) -> str:
    message, messages = parameter.get("messageValue"), parameter.get("multiMessageValue")
    if isinstance(message, dict):
        return _bag(message.get("parameter"), is_odd=is_odd)
    if isinstance(messages, list):
        bags = [_bag(one.get("parameter"), is_odd=is_odd) for one in messages if isinstance(one, dict)]
        return "[" + ",".join(bags) + "]"
    for kind in _LISTS:
        if isinstance(parameter.get(kind), list):
            return "[" + ",".join(_plain(item, is_odd=is_odd) for item in parameter[kind]) + "]"
    given = [parameter[kind] for kind in _SINGLE if parameter.get(kind) is not None]
    if not given and not is_odd and any(kind in parameter for kind in _SINGLE):
        return "null"
    return _plain(given[0], is_odd=is_odd) if given else '""'


def _plain(value: Any, *, is_odd: bool) -> str:  # noqa: ANN401 - a JSON value
    if value is None:
        return "null"
    written = str(value) if isinstance(value, str) else _json(value)
    return (
        written
        if not is_odd and (isinstance(value, _Number) or not isinstance(value, str))
        else _text(written)
    )


def _json(value: Any) -> str:  # noqa: ANN401 - a JSON value
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
