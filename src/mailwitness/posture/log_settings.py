"""Where a host's logs go besides its own disk: rsyslog, syslog-ng, the journal, auditd's plugin, and our shipper.

Source: rsyslog.conf(5) and the manuals of omfwd and omrelp; journald.conf(5); audisp-remote.conf(5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mailwitness.posture.mail_settings import matching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailwitness.posture.root import Root

JsonDict = dict[str, Any]  # Any: JSON values
_DEPTH = 8
_ACTION = re.compile(r"\baction\s*\(([^()]*)\)", re.IGNORECASE)
_PARAMETER = re.compile(r"([\w.]+)\s*=\s*\"([^\"]*)\"")
_LEGACY = re.compile(r"^\s*([^\s#$:&][^\s]*)\s+-?(@@?)(?:\([^)]*\))?([\w.\[\]:-]+)", re.MULTILINE)
_HOME = {"127.0.0.1", "localhost", "::1", "[::1]"}
_SHIPPER = ("/etc/mailwitness/ship.toml", "/etc/mailwitness-ship.toml")


def facts(root: Root) -> Iterator[JsonDict]:
    """Yield each way off the host, and the programs that could have one."""
    forwards = [
        *_rsyslog(root),
        *_syslog_ng(root),
        *_journal_upload(root),
        *_audit_remote(root),
        *_shipper(root),
    ]
    yield from forwards
    kinds = {"mail": {"rsyslog", "syslog-ng", "journal", "mailwitness"}, "audit": {"audisp", "mailwitness"}}
    for what, programs in kinds.items():
        ways = [one["Settings"] for one in forwards if one["Settings"]["Program"] in programs]
        settings = {
            "What": what,
            "Ways": len(ways),
            "Encrypted": sum(one["IsEncrypted"] for one in ways),
            "Checked": sum(one["IsPeerChecked"] for one in ways),
            "Buffered": sum(one["HasDiskQueue"] for one in ways),
            "Targets": [one["Target"] for one in ways],
        }
        yield {"Kind": "LogForwarding", "Identity": f"{what} log", "Settings": settings}
    yield from _journald(root)


def _forward(program: str, target: str, place: str, **settings: bool) -> JsonDict:
    described = {"IsEncrypted": False, "IsPeerChecked": False, "HasDiskQueue": False, **settings}
    return {
        "Kind": "LogForward",
        "Identity": f"{program} to {target}",
        "Settings": {"Program": program, "Target": target, "Place": place, **described},
    }


def _config(root: Root, path: str, depth: int = _DEPTH) -> str:
    """Return rsyslog's configuration with what it includes, without comments."""
    lines = []
    for raw in (root.text(path) or "").splitlines() if depth else []:
        line = re.sub(r"(?:^|\s)#.*$", "", raw)
        include = re.match(r"\s*\$IncludeConfig\s+(\S+)", line) or re.search(
            r'include\s*\(.*?file="([^"]+)"', line
        )
        if include:
            lines += [
                _config(root, inner, depth - 1)
                for inner in matching(root, include[1], path.rsplit("/", 1)[0])
            ]
        else:
            lines.append(line)
    return "\n".join(lines)


def _rsyslog(root: Root) -> Iterator[JsonDict]:
    text = _config(root, "/etc/rsyslog.conf")
    is_tls = bool(re.search(r"^\s*\$ActionSendStreamDriverMode\s+1", text, re.MULTILINE | re.IGNORECASE))
    is_checked = bool(
        re.search(r"^\s*\$ActionSendStreamDriverAuthMode\s+x509/", text, re.MULTILINE | re.IGNORECASE)
    )
    queued = bool(re.search(r"^\s*\$ActionQueueFileName\s+\S", text, re.MULTILINE | re.IGNORECASE))
    for _, way, target in _LEGACY.findall(text):
        host = re.sub(r":\d+$", "", target)
        if host not in _HOME:
            yield _forward(
                "rsyslog",
                target,
                "/etc/rsyslog.conf",
                IsEncrypted=way == "@@" and is_tls,
                IsPeerChecked=is_tls and is_checked,
                HasDiskQueue=queued,
            )
    for written in _ACTION.findall(text):
        values = {name.lower(): value for name, value in _PARAMETER.findall(written)}
        target = values.get("target", "")
        if values.get("type", "").lower() not in {"omfwd", "omrelp"} or not target or target in _HOME:
            continue
        secure = values.get("streamdrivermode") == "1" or values.get("tls", "").lower() == "on"
        checked = (
            values.get("streamdriverauthmode", values.get("tls.authmode", ""))
            .lower()
            .startswith(("x509/", "name", "certvalid"))
        )
        yield _forward(
            "rsyslog",
            f"{target}:{values.get('port', '514')}",
            "/etc/rsyslog.conf",
            IsEncrypted=secure,
            IsPeerChecked=secure and checked,
            HasDiskQueue=bool(values.get("queue.filename")),
        )


def _syslog_ng(root: Root) -> Iterator[JsonDict]:
    names = [
        "/etc/syslog-ng/syslog-ng.conf",
        *(f"/etc/syslog-ng/conf.d/{n}" for n in root.names("/etc/syslog-ng/conf.d")),
    ]
    for path in names:
        text = re.sub(r"(?m)#.*$", "", root.text(path) or "")
        for block in re.findall(r"\bdestination\s+\S+\s*\{(.*?)\}\s*;", text, re.DOTALL):
            target = re.search(r"\b(?:network|syslog|tcp|udp)\s*\(\s*\"([^\"]+)\"", block)
            if target and target[1] not in _HOME:
                secure = "tls" in block
                yield _forward(
                    "syslog-ng",
                    target[1],
                    path,
                    IsEncrypted=secure,
                    IsPeerChecked=secure and "optional" not in block,
                    HasDiskQueue="disk-buffer" in block,
                )


def _settings(text: str | None) -> dict[str, str]:
    pairs = [
        line.partition("=")
        for line in (text or "").splitlines()
        if "=" in line and line.strip()[:1] not in "#;["
    ]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _journal_upload(root: Root) -> Iterator[JsonDict]:
    target = _settings(root.text("/etc/systemd/journal-upload.conf")).get("url", "")
    if target:
        secure = target.lower().startswith("https")
        # It reads from the journal and keeps its place there: the journal is its queue.
        yield _forward(
            "journal",
            target,
            "/etc/systemd/journal-upload.conf",
            IsEncrypted=secure,
            IsPeerChecked=secure,
            HasDiskQueue=True,
        )


def _audit_remote(root: Root) -> Iterator[JsonDict]:
    plugin = _settings(
        root.text("/etc/audit/plugins.d/au-remote.conf") or root.text("/etc/audisp/plugins.d/au-remote.conf")
    )
    remote = _settings(
        root.text("/etc/audit/audisp-remote.conf") or root.text("/etc/audisp/audisp-remote.conf")
    )
    target = remote.get("remote_server", "")
    if plugin.get("active", "").lower() == "yes" and target:
        kerberos = remote.get("enable_krb5", "").lower() == "yes"
        yield _forward(
            "audisp",
            target,
            "/etc/audit/audisp-remote.conf",
            IsEncrypted=kerberos,
            IsPeerChecked=kerberos,
            HasDiskQueue=remote.get("mode", "").lower() == "forward",
        )


def _shipper(root: Root) -> Iterator[JsonDict]:
    for path in _SHIPPER:
        found = re.search(r'(?m)^\s*witness\s*=\s*"(https://[^"]+)"', root.text(path) or "")
        if found:
            yield _forward(
                "mailwitness", found[1], path, IsEncrypted=True, IsPeerChecked=True, HasDiskQueue=True
            )


def _journald(root: Root) -> Iterator[JsonDict]:
    names = [name for name in root.names("/etc/systemd/journald.conf.d") if name.endswith(".conf")]
    paths = ["/etc/systemd/journald.conf", *(f"/etc/systemd/journald.conf.d/{name}" for name in names)]
    found: dict[str, str] = {}
    for path in paths:
        found |= _settings(root.text(path))
    if root.status("/etc/systemd/journald.conf") is None and not names:
        return
    storage = found.get("storage", "auto").lower()
    is_kept = storage == "persistent" or (storage == "auto" and root.status("/var/log/journal") is not None)
    settings = {
        "Storage": storage,
        "IsKept": is_kept,
        # Sealing is allowed by default, and done only where its key was made.
        "IsSealed": found.get("seal", "yes").lower() in {"yes", "true", "1", "on"}
        and any(
            root.status(f"/var/log/journal/{name}/fss") is not None for name in root.names("/var/log/journal")
        ),
        "Audit": found.get("audit", "").lower(),
        "Forwards": found.get("forwardtosyslog", "yes").lower() in {"yes", "true", "1", "on"},
        "RateLimit": found.get("ratelimitburst", ""),
    }
    yield {"Kind": "JournalConfig", "Identity": "journald", "Settings": settings}
