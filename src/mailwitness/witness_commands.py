"""The commands of the witness: set up, serve, ship, measure the delay, compare, verify."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from cyclopts import App

from mailwitness.errors import ConfigError

CLEAR, FOUND, FAILED = 0, 1, 2

witness_app = App(
    name="witness",
    help="Keep copies of logs and mail out of the intruder's reach, and show what was cleared.",
)


def _clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _tell(line: str) -> None:
    from mailwitness.report.text import visible

    print(f"mailwitness witness: {visible(line, 1000)}", file=sys.stderr, flush=True)


@witness_app.command
def init(
    folder: Path, *, server: list[str], client: list[str] | None = None, reader: list[str] | None = None
) -> int:
    """Make authority, certificates, signing key and example settings for a test or a small site.

    Parameters
    ----------
    folder
        New or empty folder.
    server
        Host name or address of the witness; more than once for several.
    client
        Name of a host that will append; more than once for several.
    reader
        Name of somebody who will read; more than once for several.
    """
    from mailwitness.witness import pki

    pinned = pki.initialise(
        folder, server=server, clients=client or [], readers=reader or [], now=_clock().replace(microsecond=0)
    )
    print(f"public key of the witness: {pinned}")
    print(f"Note this key on paper. Take {folder / 'ca'} to neither host: it can make new clients.")
    return CLEAR


@witness_app.command
def serve(*, config: Path) -> int:
    """Receive, store and prove records; runs until it gets SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        Settings of the witness, TOML.
    """
    import asyncio
    import signal

    from mailwitness.witness import config as configuration
    from mailwitness.witness.serve import serve as run

    settings = configuration.read(config, configuration.Witness)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(settings, clock=_clock, tell=_tell, stop=stop)

    asyncio.run(until_stopped())
    return CLEAR


@witness_app.command
def rotate(*, config: Path) -> int:
    """Sign with a new key from the next start on; the present key vouches for it.

    Parameters
    ----------
    config
        Settings of the witness, TOML.
    """
    from mailwitness.witness import config as configuration
    from mailwitness.witness.heads import Signer

    settings = configuration.read(config, configuration.Witness)
    turn = Signer(Path(settings.keys)).rotate(time_us=int(_clock().timestamp() * 1_000_000))
    print(f"public key of the witness: {turn.new}")
    return CLEAR


@witness_app.command
def status(*, reader: Path) -> int:
    """Print size, signed head and the counters of every sender as JSON.

    Parameters
    ----------
    reader
        Settings of a reader, TOML.
    """
    import json

    import msgspec

    from mailwitness.witness import config as configuration
    from mailwitness.witness.client import Client

    with Client(configuration.read(reader, configuration.Reader)) as client:
        answer = client.head()
        print(json.dumps({**client.status(), "head": msgspec.to_builtins(answer.head)}, indent=1))
    return CLEAR


@witness_app.command
def ship(*, config: Path) -> int:
    """Follow logs and mail and send what appears to the witness; runs until it gets SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        Settings of the shipper, TOML.
    """
    import signal

    from mailwitness.witness import config as configuration
    from mailwitness.witness.ship import Shipper

    shipper = Shipper(configuration.read(config, configuration.Ship), clock=_clock, tell=_tell)

    def ask_to_stop(_number: int, _frame: object) -> None:
        shipper.is_asked_to_stop = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    shipper.run()
    return CLEAR


@witness_app.command
def canary(*, config: Path, reader: Path, seconds: float = 60.0) -> int:
    """Write a line with a nonce on this host, read it back from the witness, and print the delay.

    Exit code 0: it arrived in time; 2: it did not.

    Parameters
    ----------
    config
        Settings of the running shipper, TOML.
    reader
        Settings of a reader, TOML.
    seconds
        How long to wait.
    """
    from mailwitness.witness import config as configuration
    from mailwitness.witness.canary import measure
    from mailwitness.witness.client import Client

    settings = configuration.read(config, configuration.Ship)
    with Client(configuration.read(reader, configuration.Reader)) as client:
        delay = measure(Path(settings.state), client, seconds=seconds)
    if delay is None:
        print(f"not evaluated: the canary did not arrive within {seconds:g} s; is the shipper running?")
        return FAILED
    print(f"the canary arrived after {delay:.3f} s")
    return CLEAR


@witness_app.command
def compare(  # noqa: PLR0913 - the flags of the command
    *targets: Path,
    client: str,
    reader: Path | None = None,
    store: Path | None = None,
    key: str = "",
    named: str = "",
    out: Path = Path("witness-comparison.jsonl"),
    proofs: Path | None = None,
    settings_root: Path | None = None,
    now: str | None = None,
) -> int:
    """Show what the witness holds that is gone, altered or inserted here: line by line, message by message.

    Exit code 0: nothing differs; 1: something does; 2: it could not be compared.

    Parameters
    ----------
    targets
        Logs, Maildirs, mbox files, exports of the journal (journalctl -o export) or folders of cases.
    client
        Name of the host as the witness knows it.
    reader
        Settings of a reader, TOML; reads from the running witness.
    store
        Folder of the witness's store, or a copy of it.
    key
        Public key of the witness as noted when it was set up; default what the reader's settings pin.
    named
        Path of the original on the host, when the target is a copy elsewhere.
    out
        File for the result; give it to `mailwitness investigate` as evidence.
    proofs
        File for proofs that `mailwitness witness verify` checks offline.
    settings_root
        Root of the host, or of a copy, whose settings of logrotate and journald say what left by rotation or expiry;
        default / unless --named is given.
    now
        Time of the comparison, ISO 8601 UTC; default the present time.
    """
    from mailwitness import witness_compare

    if (reader is None) == (store is None) or not targets:
        raise ConfigError(
            "a comparison needs a target and either --reader or --store",
            remedy="Name what to compare with what.",
        )
    request = witness_compare.Request(
        targets=targets,
        client=client,
        reader=reader,
        store=store,
        key=key,
        named=named,
        out=out,
        proofs=proofs,
        # A target under its own name lies on its host, whose settings are at hand.
        settings_root=settings_root or (None if named else Path("/")),
    )
    return witness_compare.run(request, now)


@witness_app.command
def verify(file: Path, *, key: str = "") -> int:
    """Check a proof file offline: each record leads to the head, and the head is signed.

    Exit code 0: everything is proved; 2: something is not.

    Parameters
    ----------
    file
        What `compare --proofs` wrote.
    key
        Public key of the witness as noted when it was set up, hexadecimal.
    """
    from mailwitness.report.text import visible
    from mailwitness.witness import proofs

    lines = proofs.check(file, pinned=key)
    for line in lines:
        print(f"{'ok   ' if line.ok else 'FALSE '} {visible(line.text, 500)}")
    if not key:
        print("note  compare that key with the one noted when the witness was set up, or give it with --key")
    return CLEAR if all(line.ok for line in lines) else FAILED


@witness_app.command
def audit(*, store: Path, key: str = "", stamp_roots: Path | None = None) -> int:
    """Read a whole store and compute its newest signed head again; check the time stamps of its heads.

    Exit code 0: it leads there; 2: it does not, or a stamp does not hold.

    Parameters
    ----------
    store
        Folder of the witness's store, or a copy of it.
    key
        Public key of the witness as noted when it was set up, hexadecimal.
    stamp_roots
        PEM file with the root certificates of the time stamping authority.
    """
    from mailwitness.report.text import visible
    from mailwitness.witness import stamps
    from mailwitness.witness.compare import iso
    from mailwitness.witness.held import LocalSource

    head = LocalSource(store, key).head
    print(f"ok    {head.size} records lead to the head signed {iso(head.time_us)} by key {head.key}")
    checked = list(stamps.kept(store, stamp_roots)) if stamp_roots else []
    for holds, text in checked:
        print(f"{'ok   ' if holds else 'FALSE'} {visible(text, 300)}")
    return CLEAR if all(holds for holds, _ in checked) else FAILED
