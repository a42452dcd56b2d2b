"""The commands for bundles: make one, verify one, make the key that signs them."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

CLEAR, FAILED = 0, 2

bundle_app = App(
    name="bundle", help="Pack a case so that somebody else can check and repeat it, or check such a bundle."
)


@bundle_app.default
def pack(*, case: Path, out: Path, with_originals: bool = False, now: str | None = None) -> int:
    """Pack a case: digests or the evidence itself, custody log, rules, clock, settings, report and proofs, signed.

    Parameters
    ----------
    case
        Folder of the case.
    out
        File to write, such as case-17.zip.
    with_originals
        Pack the evidence itself, so that the verdict can be repeated from the bundle alone.
    now
        When it is made, ISO 8601 UTC; default the present time. The same case at the same time gives the same bytes.
    """
    from mailwitness import signing, signing_key
    from mailwitness.bundles.make import make
    from mailwitness.report.text import visible
    from mailwitness.settings import clock
    from mailwitness.witness.heads import public_text

    key = signing.load(signing_key.path())
    made = make(case, out, key, with_originals=with_originals, now=clock(now))
    print(f"{visible(str(out))}: {len(made.members)} members, signed with the key {public_text(key)}")
    print("Give the key to the receiver by another way than the bundle.")
    return CLEAR


@bundle_app.command
def verify(
    file: Path,
    *,
    key: str = "",
    originals: Path | None = None,
    witness_key: str = "",
    memory: str | None = None,
) -> int:
    """Check every byte, the signature and the custody chain of a bundle, and run its rules on its evidence again.

    Exit code 0: everything is confirmed; 2: something is wrong or could not be confirmed.

    Parameters
    ----------
    file
        The bundle.
    key
        Public key of the one who made it, got by another way than the bundle.
    originals
        Folder with the evidence, when the bundle holds only its digests.
    witness_key
        Public key of the witness as noted when it was set up, for the proofs that the bundle holds of it.
    memory
        Memory limit of the database.
    """
    from mailwitness.bundles.check import State, check
    from mailwitness.report.text import visible

    lines = check(file, key=key, originals=originals, memory=memory or "", witness_key=witness_key)
    for line in lines:
        print(f"{line.state:<13} {visible(line.text, 600)}")
    return CLEAR if all(line.state is State.CONFIRMED for line in lines) else FAILED


@bundle_app.command
def key() -> int:
    """Make the key that signs your bundles and custody logs, if there is none, and print its public half."""
    from mailwitness import signing, signing_key

    path = signing_key.path()
    print(signing.make(path))
    return CLEAR
