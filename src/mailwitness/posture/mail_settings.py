"""Settings of Dovecot and Postfix, read from their files.

Source: Dovecot manual, "Settings syntax" for 2.3 and 2.4; postconf(5).
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
_DEPTH = 8
_BLOCK = re.compile(r"^([a-z_]+)(?:\s+([^{\s]+))?\s*\{(.*)$")
_PROTOCOLS = ("imap", "lmtp", "pop3", "lda")


def dovecot(root: Root) -> Iterator[JsonDict]:
    """Yield Dovecot's settings that decide whether a deletion leaves a line."""
    if root.status("/etc/dovecot/dovecot.conf") is None:
        return
    found = _dovecot_settings(root)
    everywhere = _words(found, "", "mail_plugins")
    plugins = {name: _words(found, f"protocol {name}/", "mail_plugins", everywhere) for name in _PROTOCOLS}
    events = _words(found, "", "mail_log_events") or _words(found, "plugin/", "mail_log_events")
    fields = _words(found, "", "mail_log_fields") or _words(found, "plugin/", "mail_log_fields")
    settings = {
        "Plugins": sorted(everywhere),
        **{f"Plugins_{name}": sorted(words) for name, words in plugins.items()},
        "Events": sorted(events),
        "Fields": sorted(fields),
        "LogPath": found.get("log_path", ""),
        "Ssl": found.get("ssl", ""),
        "Protocols": found.get("protocols", ""),
        "Locations": mail_locations(found),
        # Where expunged messages go: "lazy_expunge" of the plugin (2.3), "lazy_expunge_mailbox" (2.4).
        "LazyExpunge": found.get("plugin/lazy_expunge", found.get("lazy_expunge_mailbox", "")),
    }
    yield {"Kind": "DovecotConfig", "Identity": "dovecot", "Settings": settings}


def stores(root: Root) -> list[str]:
    """Return the folders outside homes that Dovecot's settings name as mail stores."""
    return mail_locations(_dovecot_settings(root))


def mail_locations(found: dict[str, str]) -> list[str]:
    """Return the constant beginning of mail_location (2.3) and mail_path (2.4) where that is no home."""
    named = [found.get("mail_location", "").split(":", 1)[-1].split(":")[0], found.get("mail_path", "")]
    plain = [re.split(r"[%~]", path)[0].rstrip("/") for path in named]
    return sorted(
        {path for path in plain if path.count("/") > 1 and path.startswith("/")}
        - {"/var/mail", "/var/spool/mail"}
    )


def _words(found: dict[str, str], prefix: str, name: str, inherited: set[str] | None = None) -> set[str]:
    """Return a list setting in the ways of 2.3 (``a b $mail_plugins``) and 2.4 (``mail_plugins { a = yes }``)."""
    value = found.get(f"{prefix}{name}")
    block = f"{prefix}{name}/"
    switched = {key.removeprefix(block): text for key, text in found.items() if key.startswith(block)}
    words = set(re.split(r"[\s,]+", value)) - {""} if value is not None else set()
    is_added = value is None or f"${name}" in words or f"%{{{name}}}" in words
    result = (set(inherited or ()) if is_added else set()) | {word for word in words if word[0] not in "$%"}
    result |= {word for word, text in switched.items() if text.lower() in {"yes", "true", "1"}}
    return result - {word for word, text in switched.items() if text.lower() in {"no", "false", "0"}}


def _dovecot_settings(root: Root) -> dict[str, str]:
    found: dict[str, str] = {}
    _read_dovecot(root, "/etc/dovecot/dovecot.conf", [], found, _DEPTH)
    return found


def _read_dovecot(root: Root, path: str, outer: list[str], found: dict[str, str], depth: int) -> None:
    scope = list(outer)
    for raw in (root.text(path) or "").splitlines() if depth else []:
        line = re.sub(r"(?:^|\s)#.*$", "", raw).strip()
        include = re.match(r"!include(?:_try)?\s+(\S+)", line)
        if include:
            for inner in matching(root, include[1], path.rsplit("/", 1)[0]):
                _read_dovecot(root, inner, scope, found, depth - 1)
            continue
        _take(line, scope, found)


def _take(line: str, scope: list[str], found: dict[str, str]) -> None:
    block = _BLOCK.match(line)
    if block:
        scope.append(" ".join(part for part in block.groups()[:2] if part))
        line = block[3].strip()
        if line.endswith("}"):
            _take(line[:-1].strip(), scope, found)
            scope.pop()
            return
    if line == "}":
        if scope:
            scope.pop()
    elif "=" in line:
        name, _, value = line.partition("=")
        key = "/".join([*scope, name.strip()])
        plain = value.strip().strip('"')
        # `$mail_plugins` is what was set up to here: in the same block, else globally. What is set later does not reach back.
        own = f"${name.strip()}"
        found[key] = plain.replace(own, found.get(key, found.get(name.strip(), "")))


def matching(root: Root, pattern: str, folder: str) -> list[str]:
    """Return the files that an include names, which may have wild cards in its last part."""
    path = pattern if pattern.startswith("/") else f"{folder}/{pattern}"
    parent, _, last = path.rpartition("/")
    if not re.search(r"[*?\[]", last):
        return [path]
    return [f"{parent}/{name}" for name in root.names(parent) if fnmatch.fnmatch(name, last)]


def postfix(root: Root) -> Iterator[JsonDict]:
    """Yield Postfix's main.cf as it is written, values of one line each."""
    text = root.text("/etc/postfix/main.cf")
    if text is None:
        return
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1].isspace() and name:
            found[name] += " " + line.strip()
        elif "=" in line and not line.startswith("#"):
            name, _, value = (part.strip() for part in line.partition("="))
            found[name] = value
    yield {"Kind": "PostfixConfig", "Identity": "postfix", "Settings": found}
