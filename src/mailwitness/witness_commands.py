"""The commands of the witness: set up, serve, ship, measure the delay, compare, verify."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from cyclopts import App

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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: shipper.stop.set())
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
