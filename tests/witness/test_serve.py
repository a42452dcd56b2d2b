"""The witness over real sockets with real certificates."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import signal
import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING

import httpx2
import pytest

from mailwitness.errors import WitnessRefused, WitnessUnreachable
from mailwitness.posture import selftest
from mailwitness.witness import segments
from mailwitness.witness.access import client_context
from mailwitness.witness.heads import is_trusted
from mailwitness.witness.merkle import is_consistent, is_included, leaf_hash
from mailwitness.witness.pki import Authority
from mailwitness.witness.records import Kind, parse
from mailwitness.witness.syslog import Frames, Malformed

from .site import NOW, Site, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("serve")
    token = hashlib.sha256(b"a reader's token").hexdigest()
    with Site(folder, reader_tokens=f'["{token}"]', frame_bytes="4096", batch_bytes="300000") as running:
        yield running


def batch(*texts: str) -> list[tuple[bytes, bytes]]:
    return [(hashlib.sha256(text.encode()).digest(), text.encode()) for text in texts]


def stored(site: Site, client: str = "mail") -> list[bytes]:
    records = (parse(content) for _, content in site.reader().records())
    return [record.body for record in records if record.client == client]


def context(site: Site, folder: Path) -> ssl.SSLContext:
    return client_context(
        str(folder / "tls.crt"), str(folder / "tls.key"), str(site.folder / "ca" / "ca.crt")
    )


def send(site: Site, content: bytes, name: str = "mail") -> None:
    tls = context(site, site.folder / "clients" / name)
    with (
        socket.create_connection(("127.0.0.1", site.port["syslog"]), timeout=20) as plain,
        tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(content)
        secure.unwrap()


def frame(text: str) -> bytes:
    return f"{len(text.encode())} {text}".encode()


def test_a_batch_is_stored_once_and_proved(site: Site) -> None:
    client, reader = site.client(), site.reader()
    before = client.head().head

    first = client.append(batch("batch one", "batch two"))
    again = client.append(batch("batch two", "batch three"))

    assert [new for _, new in first.stored] == [True, True]
    assert [new for _, new in again.stored] == [False, True]
    assert again.stored[0] == (first.stored[1][0], False)
    head = reader.head()
    assert is_trusted(head.head.key, site.pinned, head.head.log, head.rotations)
    number = again.stored[1][0]
    content = dict(reader.records(number))[number]
    path = reader.inclusion(number, head.head.size)
    root = bytes.fromhex(head.head.root)
    assert is_included(leaf_hash(content), number, head.head.size, path, root)
    assert parse(content).client == "mail"
    if before.size:
        steps = client.consistency(before.size, head.head.size)
        assert is_consistent(before.size, head.head.size, (bytes.fromhex(before.root), root), steps)


def test_the_answer_to_an_append_comes_with_a_head_that_covers_it(site: Site) -> None:
    answer = site.client().append(batch("covered"))

    assert answer.head.size > answer.stored[0][0]


def test_a_client_cannot_write_under_another_name_nor_read(site: Site) -> None:
    client = site.client("other")
    client.append(batch("from the other host"))

    assert b"from the other host" in stored(site, "other")
    assert b"from the other host" not in stored(site, "mail")
    with pytest.raises(WitnessRefused, match="under the name in its certificate"):
        client._ask("POST", "/v1/append", {"client": "mail"}, b"\x90")
    for ask in (lambda: list(client.records()), client.status, lambda: client.inclusion(0, 1)):
        with pytest.raises(WitnessRefused, match="reader's certificate"):
            ask()


def test_a_reader_cannot_write(site: Site) -> None:
    with pytest.raises(WitnessRefused, match="may not append"):
        site.reader().append(batch("written by a reader"))


def test_a_token_reads_without_a_certificate_and_a_wrong_one_does_not(site: Site) -> None:
    trust = ssl.create_default_context(cafile=str(site.folder / "ca" / "ca.crt"))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with httpx2.Client(base_url=f"https://127.0.0.1:{site.port['https']}", verify=trust) as http:
        allowed = http.get("/v1/status", headers={"Authorization": "Bearer a reader's token"})
        wrong = http.get("/v1/status", headers={"Authorization": "Bearer another token"})
        none = http.get("/v1/head")
        written = http.post(
            "/v1/append", content=b"\x90", headers={"Authorization": "Bearer a reader's token"}
        )

    assert [r.status_code for r in (allowed, wrong, none, written)] == [200, 403, 403, 403]


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/records", "/v1/append", "/v1/head"])
def test_nothing_deletes_or_changes(site: Site, method: str, path: str) -> None:
    with pytest.raises(WitnessRefused, match="Method Not Allowed"):
        site.reader()._ask(method, path, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91\x92\xc4\x01a\xc4\x01b",
        b"\x81\xa1a\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x90" * 400_000,
    ],
)
def test_a_malformed_or_oversized_batch_is_refused_and_survived(site: Site, body: bytes) -> None:
    with pytest.raises(WitnessRefused):
        site.client()._ask("POST", "/v1/append", {}, body)

    assert site.client().append(batch("still there")).stored


@pytest.mark.parametrize(
    "query", [{"first": 5, "second": 2}, {"first": 0, "second": 1}, {"first": "x", "second": 1}, {}]
)
def test_impossible_proofs_are_refused(site: Site, query: dict[str, int | str]) -> None:
    with pytest.raises(WitnessRefused):
        site.client()._ask("GET", "/v1/consistency", query)


@pytest.mark.parametrize("case", ["expired", "foreign", "not yet", "self-made name"])
def test_certificates_that_are_expired_or_of_a_stranger_are_refused(
    site: Site, tmp_path: Path, case: str
) -> None:
    if case == "expired":
        site.authority(NOW - dt.timedelta(days=30), days=20).issue(tmp_path, "mail")
    elif case == "not yet":
        site.authority(NOW + dt.timedelta(days=2)).issue(tmp_path, "mail")
    elif case == "foreign":
        Authority(tmp_path / "strangers", now=NOW).issue(tmp_path, "mail")
    else:
        site.authority().issue(tmp_path, "nobody knows me")
    before = site.reader().head().head.size
    settings = site.reader_settings()
    import msgspec

    from mailwitness.witness.client import Client

    strange = msgspec.structs.replace(
        settings, certificate=str(tmp_path / "tls.crt"), key=str(tmp_path / "tls.key")
    )

    expected = WitnessRefused if case == "self-made name" else WitnessUnreachable
    with Client(strange) as client, pytest.raises(expected):
        client.append(batch("from a stranger"))
    tls = context(site, tmp_path)
    try:
        with (
            socket.create_connection(("127.0.0.1", site.port["syslog"]), timeout=20) as plain,
            tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(frame("<22>1 - - - - - - from a stranger"))
            assert secure.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        pass

    assert site.reader().head().head.size == before


def test_a_client_does_not_talk_to_a_witness_of_a_stranger(site: Site, tmp_path: Path) -> None:
    import msgspec

    from mailwitness.witness.client import Client

    Authority(tmp_path / "strangers", now=NOW)
    settings = msgspec.structs.replace(site.reader_settings(), ca=str(tmp_path / "strangers" / "ca.crt"))

    with Client(settings) as client, pytest.raises(WitnessUnreachable, match="certificate"):
        client.head()


def test_syslog_frames_arrive_as_they_were_sent(site: Site) -> None:
    lines = [f"<22>1 2026-03-02T09:00:0{i}Z mail dovecot - - - line {i} \u00e4\n\x00" for i in range(8)]

    send(site, b"".join(frame(line) for line in lines))

    wait_for(lambda: set(stored(site)) >= {line.encode() for line in lines})


def test_equal_syslog_lines_are_all_kept(site: Site) -> None:
    send(site, frame("the same line") * 5)
    send(site, frame("the same line") * 5)

    wait_for(lambda: Counter(stored(site))[b"the same line"] == 10)


def test_an_oversized_frame_is_cut_and_what_follows_is_kept(site: Site) -> None:
    long = "<22>1 - - - - - - long " + "x" * 300_000

    send(site, frame("<22>before the long one") + frame(long) + frame("<22>behind the long one"))

    wait_for(lambda: b"<22>behind the long one" in stored(site))
    records = [parse(content) for _, content in site.reader().records()]
    cut = [record for record in records if record.kind == Kind.SYSLOG_CUT]
    assert [record.body for record in cut] == [long.encode()[:4096]]


def test_a_thousand_malformed_frames_are_counted_and_survived(site: Site) -> None:
    chance = random.Random(3)  # noqa: S311 - repeatable
    tls = context(site, site.folder / "clients" / "other")
    for i in range(60):
        junk = chance.choice(
            [
                b"0 x",
                b"abc ",
                b"99999999999 x",
                b"-1 a",
                b" 5 abc",
                b"\x16\x03\x01",
                b"5",
                chance.randbytes(50),
            ]
        )
        with (
            socket.create_connection(("127.0.0.1", site.port["syslog"]), timeout=20) as plain,
            tls.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(frame(f"<22>good {i}") + junk)

    wait_for(lambda: {f"<22>good {i}".encode() for i in range(60)} <= set(stored(site, "other")))
    senders = site.reader().status()["senders"]
    assert isinstance(senders, dict)
    assert senders["other"]["malformed"] >= 40


def test_a_sender_that_says_nothing_holds_up_nobody(site: Site) -> None:
    with (
        socket.create_connection(("127.0.0.1", site.port["syslog"])),
        socket.create_connection(("127.0.0.1", site.port["https"])),
    ):
        assert site.client().append(batch("in spite of silence")).stored


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_do_not_depend_on_how_bytes_arrive(step: int) -> None:
    texts = ["a", "bb" * 20, "x" * 90, "", "last one"]
    stream = b"".join(frame(text) for text in texts if text)
    frames = Frames(50)

    found = [f for i in range(0, len(stream), step) for f in frames.feed(stream[i : i + step])]

    assert found == [
        (Kind.SYSLOG, b"a"),
        (Kind.SYSLOG, b"bb" * 20),
        (Kind.SYSLOG_CUT, b"x" * 50),
        (Kind.SYSLOG, b"last one"),
    ]
    assert frames.waiting == b""


@pytest.mark.parametrize("junk", [b" 5 abc", b"05 abcde", b"abc", b"1234567890 ", b"12a 34"])
def test_what_is_no_frame_is_said_to_be_none(junk: bytes) -> None:
    frames = Frames(50)

    with pytest.raises(Malformed):
        list(frames.feed(b"3 abc" + junk))

    assert frames.waiting == junk


def test_a_certificate_that_ends_while_the_connection_is_open_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        # Issued 397 days ago less ten seconds: it ends while we talk.
        begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=397) + dt.timedelta(seconds=6)
        site.authority(begin).issue(site.folder / "clients" / "mail", "mail")
        client = site.client()
        client.append(batch("in time"))

        def is_refused() -> bool:
            try:
                client.append(batch("too late"))
            except WitnessRefused:
                return True
            return False

        wait_for(is_refused, 20)


def test_kills_of_the_witness_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311 - repeatable
    site = Site(tmp_path, segment_bytes="20000").start()
    acknowledged: list[str] = []
    number = 0
    try:
        for _ in range(6):
            client = site.client()
            kill_after = chance.randrange(2, 30)
            for i in range(kill_after + 3):
                texts = [f"kill {number + k}" for k in range(20)]
                if i == kill_after:
                    assert site.process is not None
                    site.process.send_signal(signal.SIGKILL)
                try:
                    client.append(batch(*texts))
                except WitnessUnreachable:
                    continue
                acknowledged += texts
                number += 20
            site.stop(signal.SIGKILL)
            site.start()
            site.client().append(batch(*[f"kill {number + k}" for k in range(20)]))
        found = [body.decode() for body in stored(site)]
    finally:
        site.stop()

    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(found) == len(list(segments.scan(site.store / "segments")))


def test_the_service_goes_on_with_a_new_key_after_rotation(tmp_path: Path) -> None:
    import subprocess

    from .site import COMMAND, environment

    site = Site(tmp_path).start()
    site.client().append(batch("before"))
    site.stop()
    subprocess.run([*COMMAND, "rotate", "--config", str(site.configure())], check=True, env=environment())
    site.start()
    try:
        site.client().append(batch("after"))
        answer = site.reader().head()
    finally:
        site.stop()

    assert answer.head.key != site.pinned
    assert is_trusted(answer.head.key, site.pinned, answer.head.log, answer.rotations)


def test_the_trace_of_a_test_on_another_host_is_found(site: Site, tmp_path: Path) -> None:
    trace = "mailwitness-selftest-0123456789abcdef"
    settings = site.reader_settings()
    names = ("witness", "certificate", "key", "ca", "pinned")
    reader = tmp_path / "reader.toml"
    reader.write_text("".join(f"{name} = '{getattr(settings, name)}'\n" for name in names), encoding="utf-8")

    assert not selftest.has_arrived(trace, reader, seconds=0)
    site.client().append(batch(f"<Data Name='TargetFilename'>C:/Temp/{trace}/scratch.pst</Data>"))

    assert selftest.has_arrived(trace, reader, seconds=10)
