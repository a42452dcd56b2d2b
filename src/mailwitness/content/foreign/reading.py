"""Read YAML that strangers wrote: bounded in size, depth and repetition, refused in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailwitness.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

# The largest published rule file is about 60 kB; rules nest about ten deep.
_MOST_BYTES = 1_000_000
_DEEPEST = 40
# One file of a rule set holds a handful of documents, at most a rule and the correlation over it.
_MOST_DOCUMENTS = 200
_REMEDY = "Correct the file, or leave it out."


def documents(path: Path) -> list[Any]:  # Any: YAML values
    """Return the documents of a YAML file, without empty ones.

    Anchors are refused: nested ten deep they write a billion values in a kilobyte.

    Raises:
        ContentError: the file cannot be read, is no YAML, is too large or too deep, uses anchors, or names a key twice.
    """
    import yaml  # noqa: PLC0415 - 21 ms, not needed for --help

    try:
        content = path.read_bytes()
        if len(content) > _MOST_BYTES:
            raise _wrong(path, f"it is larger than a rule can be ({len(content):,} bytes)")
        text = content.decode("utf-8-sig")
        _check_shape(path, text)
        found = [item for item in yaml.load_all(text, _loader(path)) if item is not None]
    except OSError as error:
        raise _wrong(path, f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, "it is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise _wrong(path, f"this is not a YAML file ({' '.join(str(error).split())[:300]})") from error
    if not found:
        raise _wrong(path, "it is empty")
    return found


def _check_shape(path: Path, text: str) -> None:
    """Walk the events before anything is built: an attack on the builder must not reach it."""
    import yaml  # noqa: PLC0415 - see documents

    depth = seen = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _wrong(path, "it uses anchors (& and *), which a rule does not need")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        seen += isinstance(event, yaml.DocumentStartEvent)
        if depth > _DEEPEST:
            raise _wrong(path, f"it is nested more than {_DEEPEST} deep")
        if seen > _MOST_DOCUMENTS:
            raise _wrong(path, f"it holds more than {_MOST_DOCUMENTS} documents")


def _loader(path: Path) -> Any:  # noqa: ANN401 - yaml's own class
    """Return a safe loader that refuses duplicate keys and leaves dates as text."""
    import yaml  # noqa: PLC0415 - see documents

    class Loader(yaml.CSafeLoader):
        """A rule must not change meaning because one of two equal keys is dropped."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:  # noqa: ANN401 - yaml's own types
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong(path, "a key is a list or a mapping", key_node.start_mark.line + 1)
            if key_node.value in seen:
                raise _wrong(path, f"the key {key_node.value!r} occurs twice", key_node.start_mark.line + 1)
            seen.add(key_node.value)
        return dict(loader.construct_pairs(node, deep=True))

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _wrong(path: Path, message: str, line: int = 0) -> ContentError:
    return ContentError(message, place=f"{path}:{line}" if line else str(path), remedy=_REMEDY)
