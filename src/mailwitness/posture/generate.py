"""Settings that make clearing visible, written for the host that was found; nothing is installed by itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from mailwitness.errors import ConfigError
from mailwitness.posture import audit_rules, mail_settings
from mailwitness.posture.accounts import Accounts
from mailwitness.posture.places import places
from mailwitness.posture.root import Root

NAMES = {
    "auditd": "50-mailwitness.rules",
    "dovecot": "99-mailwitness.conf",
    "rsyslog": "10-mailwitness.conf",
    "sysmon": "sysmon.xml",
    "powershell": "powershell.ps1",
    "exchange": "exchange.ps1",
}
# What cannot be tried from here brings a script of its own that clears something harmless and looks for the record.
SELFTESTS = {
    "sysmon": "sysmon-selftest.ps1",
    "powershell": "powershell-selftest.ps1",
    "exchange": "exchange-selftest.ps1",
}
_SECONDS = 30
# audit.rules(7) splits at blanks and knows no quoting; a name with anything else could be a rule of its own.
_PLAIN = re.compile(r"/[\w./@+-]*")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]+\]")


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """Where logs go and with which certificates."""

    host: str = "witness.example"
    port: int = 6514
    ca: str = "/etc/mailwitness/ca.pem"
    certificate: str = "/etc/mailwitness/client.pem"
    key: str = "/etc/mailwitness/client.key"


class Written(msgspec.Struct, frozen=True):
    """A file that was written, and what a check of it said.

    Attributes:
        is_valid: None when the program that could check it is not here.
        left_out: places that cannot be named in such a file, and why.
    """

    path: Path
    is_valid: bool | None
    said: str
    left_out: list[str]


def generate(kind: str, out: Path, *, root: Path, witness: Witness) -> Written:
    """Write one file of settings and have it checked where its program is present.

    Args:
        kind: one of NAMES.
        out: folder to write to.
        root: the host that is looked at to choose them.
        witness: where logs go.

    Raises:
        ConfigError: the address or a path of the witness cannot stand in a configuration, or the folder cannot be written.
    """
    _refuse_odd(witness)
    looked = Root(root)
    stores, logs, settings, left_out = _watched(looked)
    environment = Environment(  # noqa: S701 - plain text for programs; what goes in is checked by pattern
        loader=PackageLoader("mailwitness.posture"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = f"dovecot{'24' if _is_dovecot_24(looked) else '23'}" if kind == "dovecot" else kind
    text = environment.get_template(f"{template}.j2").render(
        stores=stores, logs=logs, settings=settings, **msgspec.to_builtins(witness)
    )
    path = out / NAMES[kind]
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if kind in SELFTESTS:
            script = environment.get_template(f"{kind}_selftest.j2").render()
            (out / SELFTESTS[kind]).write_text(script, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"it cannot be written: {error.strerror}", place=str(path), remedy="Choose another folder."
        ) from error
    is_valid, said = _checked(kind, template, path)
    said += f"; {SELFTESTS[kind]} beside it tries them" if kind in SELFTESTS else ""
    return Written(path, is_valid, said, left_out if kind == "auditd" else [])


def _refuse_odd(witness: Witness) -> None:
    names = (witness.ca, witness.certificate, witness.key)
    if not _HOST.fullmatch(witness.host) or not all(_PLAIN.fullmatch(name) for name in names):
        raise ConfigError(
            "the witness's address or a path holds what a configuration cannot",
            place="--witness",
            remedy="Use a host name, and absolute paths of letters, digits, dots, dashes and underscores.",
        )


def _watched(root: Root) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the stores, logs and settings of the host that a rule can name, and those it cannot."""
    found: dict[str, list[str]] = {"store": [], "log": [], "setting": []}
    left_out = []
    for role, path, _ in places(root, Accounts(root), mail_settings.stores(root)):
        kind = {
            "spool": "store",
            "maildir": "store",
            "mail log": "log",
            "mail setting": "setting",
            "log setting": "setting",
            "filter": "setting",
        }.get(role)
        is_top = role not in {"mail setting", "log setting"} or path.count("/") == 2  # noqa: PLR2004 - /etc/x: a watch holds for all below
        status = root.status(path, follow=False)
        if kind is None or status is None or not is_top:
            continue
        if not _PLAIN.fullmatch(path):
            left_out.append(path)
        elif root.status(path) is not None:
            found[kind].append(path)
    return found["store"], found["log"], found["setting"], left_out


def _is_dovecot_24(root: Root) -> bool:
    return "dovecot_config_version" in (root.text("/etc/dovecot/dovecot.conf") or "")


def _checked(kind: str, template: str, path: Path) -> tuple[bool | None, str]:
    """Have a file checked without loading it; None when nothing here can."""
    if kind == "auditd":
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
        bad = [line for line in lines if audit_rules.parse(line) is None]
        said = (
            "each rule reads as audit.rules(7) has it; auditctl has no way to check a rule without loading it"
        )
        return (not bad, said) if not bad else (False, f"this is no rule: {bad[0]}")
    if kind == "sysmon":
        version = ET.fromstring(path.read_text(encoding="utf-8")).get("schemaversion", "")  # noqa: S314 - our own file
        return version.startswith(
            "4."
        ), f"well-formed, schema version {version}; sysmon64 -c checks the rest on Windows"
    commands = {
        "dovecot23": ["doveconf", "-n", "-c", str(path)],
        "rsyslog": ["rsyslogd", "-N1", "-f", str(path)],
    }
    command = commands.get(template)
    if command is None:
        return (
            None,
            f"not checked: nothing on a Linux host can check {path.name}"
            if kind != "dovecot"
            else "not checked: it is for Dovecot 2.4",
        )
    if shutil.which(command[0]) is None:
        return None, f"not checked: {command[0]} is not installed"
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - a fixed program
    printed = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode == 0, f"{command[0]}: " + (
        "accepted" if done.returncode == 0 else " ".join(printed[-3:])
    )
