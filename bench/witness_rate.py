"""Measures the witness: records per second, memory, size and time of proofs, and the delay of the shipper.

    python bench/witness_rate.py --largest 6 --seconds 10

Four tables: the store by itself at 10^3 to 10^largest records with its proofs; what a proof reads of the tree; the service over TLS with
a client on the same machine; the shipper's canary at 2,000 lines per second. ``--only tree`` makes one of them.
Run it on an idle machine and state the machine beside the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import datetime as dt

from witness.site import Site

from mailwitness.witness.client import Client
from mailwitness.witness.config import Follow
from mailwitness.witness.heads import Signer
from mailwitness.witness.merkle import FileNodes, Tree, is_consistent, is_included, leaf_hash
from mailwitness.witness.records import Entry, Kind
from mailwitness.witness.ship import Shipper
from mailwitness.witness.store import Store

_BATCH = 500
_LINE = b"2026-03-02T09:00:00.000000+00:00 mail dovecot: imap(eva)<7><s>: expunge: box=INBOX, uid=%d, msgid=<%d@contoso.example>, size=4521"
_PROOFS = 200


def _entries(start: int, count: int) -> list[Entry]:
    bodies = [_LINE % (i, i) for i in range(start, start + count)]
    return [Entry(Kind.SHIPPED, "mail", hashlib.sha256(body).digest(), body) for body in bodies]


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def store_table(largest: int) -> None:
    """Print appending, memory and proofs at each power of ten; times are CPU seconds and wall seconds."""
    print(
        f"{'records':>10}{'records/s':>12}{'CPU us each':>13}{'peak MB':>9}{'hashes':>8}{'proof us':>10}{'check us':>10}{'consistency us':>16}"
    )
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "store", signer=Signer(Path(name) / "keys"), guard=False)
        for power in range(3, largest + 1):
            start, wall, cpu = store.size, time.perf_counter(), time.process_time()
            while store.size < 10**power:
                store.append(_entries(store.size, min(_BATCH, 10**power - store.size)), now_us=store.size)
            added = store.size - start
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            proof, check, consistency, hashes = _proofs(store)
            print(
                f"{store.size:>10}{added / wall:>12,.0f}{cpu / added * 1e6:>13.1f}{_memory():>9}{hashes:>8}"
                f"{proof:>10.1f}{check:>10.1f}{consistency:>16.1f}",
                flush=True,
            )
        store.close()


def _proofs(store: Store) -> tuple[float, float, float, int]:
    size, root = store.size, store.tree.root()
    numbers = range(0, size, max(size // _PROOFS, 1))
    begun = time.perf_counter()
    paths = [store.tree.inclusion(number, size) for number in numbers]
    proof = (time.perf_counter() - begun) / len(paths) * 1e6
    leaves = [leaf_hash(store.payload(number)) for number in numbers]
    begun = time.perf_counter()
    proved = [
        is_included(leaf, number, size, path, root)
        for leaf, number, path in zip(leaves, numbers, paths, strict=True)
    ]
    check = (time.perf_counter() - begun) / len(paths) * 1e6
    begun = time.perf_counter()
    firsts = [number for number in numbers if number]
    steps = [store.tree.consistency(first, size) for first in firsts]
    consistency = (time.perf_counter() - begun) / len(steps) * 1e6
    roots = (store.tree.root(firsts[-1]), root)
    if not all(proved) or not is_consistent(firsts[-1], size, roots, steps[-1]):
        message = "a proof does not hold"
        raise SystemExit(message)
    return proof, check, consistency, max(len(path) for path in paths)


def tree_table(largest: int) -> None:
    """Print what a proof reads of a tree by itself: reads, and pages of 4 KiB, each of which costs a seek where nothing is in memory."""
    print(f"\n{'leaves':>10}{'hashes':>8}{'reads':>8}{'pages':>8}{'bytes each':>12}")
    pread = os.pread
    with tempfile.TemporaryDirectory() as name:
        nodes = FileNodes(Path(name) / "tree")
        tree = Tree(nodes)
        for power in range(3, largest + 1):
            while tree.size < 10**power:
                end = min(tree.size + 10_000, 10**power)
                tree.append([leaf_hash(b"%d" % i) for i in range(tree.size, end)])
            seen: list[tuple[int, int]] = []

            def read(descriptor: int, size: int, offset: int, seen: list[tuple[int, int]] = seen) -> bytes:
                seen.append((descriptor, offset // 4096))
                return pread(descriptor, size, offset)

            os.pread = read
            paths, reads, pages = [], [], []
            for index in range(0, tree.size, tree.size // _PROOFS):
                seen.clear()
                paths.append(len(tree.inclusion(index)))
                reads.append(len(seen))
                pages.append(len(set(seen)))
            os.pread = pread
            size = sum(path.stat().st_size for path in nodes.folder.iterdir()) / tree.size
            print(
                f"{tree.size:>10}{max(paths):>8}{max(reads):>8}{statistics.mean(pages):>8.1f}{size:>12.1f}",
                flush=True,
            )
        nodes.close()


def service_table(seconds: float, connections: int) -> None:
    """Print what the service takes over TLS from clients on the same machine."""
    with tempfile.TemporaryDirectory() as name, Site(Path(name)) as site:
        sent = [0] * connections
        end = time.monotonic() + seconds

        def push(own: int) -> None:
            with Client(site.shipper(Path(name))) as client:
                while time.monotonic() < end:
                    start = (own << 40) + sent[own]
                    client.append([(entry.key, entry.body) for entry in _entries(start, _BATCH)])
                    sent[own] += _BATCH

        begun = time.monotonic()
        threads = [threading.Thread(target=push, args=(own,)) for own in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(sent) / (time.monotonic() - begun)
        process = site.process
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8") if process else ""
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "0")
        print(
            f"\nservice over TLS, {connections} connections: {rate:,.0f} records/s, peak memory {int(peak) // 1024} MB"
        )


def delay_table(seconds: float, rate: int) -> None:
    """Print the delay of canaries while lines arrive at a rate."""
    with tempfile.TemporaryDirectory() as name, Site(Path(name)) as site:
        log = Path(name) / "mail.log"
        log.touch()
        settings = site.shipper(
            Path(name), follow=[Follow(kind="lines", path=str(log))], canary_seconds=0.1, poll_seconds=0.2
        )
        shipper = Shipper(settings, clock=lambda: dt.datetime.now(dt.UTC), tell=print)  # noqa: TID251 - a script
        thread = threading.Thread(target=shipper.run)
        thread.start()
        begun, written = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            due = int((time.monotonic() - begun) * rate)
            with log.open("ab") as file:
                file.writelines(_LINE % (i, i) + b"\n" for i in range(written, due))
            written = due
            time.sleep(0.02)
        time.sleep(2)
        delays = sorted(shipper._delays)  # noqa: SLF001 - the raw values
        shipper.stop.set()
        thread.join()
        print(
            f"delay at {written / seconds:,.0f} lines/s: median {statistics.median(delays):.2f} s, "
            f"99th percentile {delays[int(len(delays) * 0.99)]:.2f} s, of {len(delays)} canaries"
        )


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--largest", type=int, default=6, help="power of ten of the largest store")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--only", default="", choices=["", "store", "tree", "service", "delay"])
    chosen = parser.parse_args()
    tables = {
        "store": lambda: store_table(chosen.largest),
        "tree": lambda: tree_table(chosen.largest),
        "service": lambda: service_table(chosen.seconds, chosen.connections),
        "delay": lambda: delay_table(chosen.seconds, chosen.rate),
    }
    for name, table in tables.items():
        if chosen.only in {"", name}:
            table()


if __name__ == "__main__":
    main()
