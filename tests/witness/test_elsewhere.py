"""What leaves the witness: copies, encryption, time stamps; and a real rsyslog that feeds it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mailwitness.errors import ConfigError, WitnessError
from mailwitness.witness import segments, stamps
from mailwitness.witness.archive import Archive, Bucket, Folder, archive, encryption
from mailwitness.witness.config import S3, Witness, endpoint, read
from mailwitness.witness.heads import Signer, is_genuine
from mailwitness.witness.held import LocalSource
from mailwitness.witness.records import parse

from .site import Site, wait_for
from .test_store import entry, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def _filled(folder: Path) -> list[Path]:
    store = open_store(folder, segment_bytes=500)
    for i in range(20):
        store.append([entry(f"line {i}")], now_us=1)
    store.close()
    return segments.paths(folder / "store" / "segments")


class Failing:
    """A target that is out of order for a while."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.works = False

    def put(self, name: str, content: bytes, *, now: dt.datetime) -> None:
        if not self.works:
            raise OSError(28, "No space left on device")
        self.names.append(name)


def test_closed_segments_are_copied_once_and_the_open_one_is_not(tmp_path: Path) -> None:
    listed = _filled(tmp_path)
    copies = Archive(tmp_path / "store", [Folder(tmp_path / "copies")], None)

    assert copies.copy(now=NOW) == []
    assert copies.copy(now=NOW) == []

    copied = sorted((tmp_path / "copies" / "segments").iterdir())
    assert [path.name for path in copied] == [path.name for path in listed[:-1]]
    assert copied[0].read_bytes() == listed[0].read_bytes()


def test_what_a_target_did_not_take_is_told_and_taken_later(tmp_path: Path) -> None:
    listed = _filled(tmp_path)
    target = Failing()
    copies = Archive(tmp_path / "store", [target], None)

    assert "No space left" in copies.copy(now=NOW)[0]
    target.works = True

    assert copies.copy(now=NOW) == []
    assert target.names == [f"segments/{path.name}" for path in listed[:-1]]


def test_a_copy_is_never_overwritten_by_another(tmp_path: Path) -> None:
    target = Folder(tmp_path)
    target.put("segments/1", b"one", now=NOW)
    target.put("segments/1", b"one", now=NOW)

    with pytest.raises(WitnessError, match="another copy"):
        target.put("segments/1", b"two", now=NOW)


def test_copies_are_encrypted_to_recipients_and_only_to_them(tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage")
    key, stranger = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    listed = _filled(tmp_path)
    copies = Archive(tmp_path / "store", [Folder(tmp_path / "copies")], encryption([str(key.to_public())]))

    assert copies.copy(now=NOW) == []

    first = min((tmp_path / "copies" / "segments").iterdir()).read_bytes()
    assert b"line" not in first
    assert pyrage.decrypt(first, [key]) == listed[0].read_bytes()
    with pytest.raises(Exception, match=r"(?i)no matching"):
        pyrage.decrypt(first, [stranger])


def test_a_wrong_recipient_is_refused_at_the_start() -> None:
    pytest.importorskip("pyrage")

    with pytest.raises(ConfigError, match="no age recipient"):
        encryption(["age1nonsense"])


def test_an_object_asks_for_compliance_until_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    from botocore.stub import Stubber

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a synthetic value")
    bucket = Bucket(
        S3(bucket="evidence", endpoint="https://s3.contoso.example", region="eu-north-1", retention_days=30)
    )
    expected = {
        "Bucket": "evidence",
        "Key": "mailwitness/segments/1",
        "Body": b"content",
        "ContentMD5": base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode(),
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": NOW + dt.timedelta(days=30),
    }
    asked = {"Bucket": "evidence", "Key": "mailwitness/segments/1", "VersionId": "1"}
    with Stubber(bucket._client) as stub:
        stub.add_response("put_object", {"VersionId": "1"}, expected)
        stub.add_response("head_object", {}, asked)
        stub.add_response("put_object", {"VersionId": "2"}, expected)
        locked = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": NOW + dt.timedelta(days=30)}
        stub.add_response("head_object", locked, {**asked, "VersionId": "2"})
        stub.add_client_error("put_object", "InvalidRequest", "Bucket is missing Object Lock Configuration")

        with pytest.raises(WitnessError, match="does not say that it is locked"):
            bucket.put("segments/1", b"content", now=NOW)
        bucket.put("segments/1", b"content", now=NOW)
        with pytest.raises(WitnessError, match="missing Object Lock"):
            bucket.put("segments/1", b"content", now=NOW)


def test_without_targets_there_is_no_archive(tmp_path: Path) -> None:
    plain = Witness(folder=str(tmp_path), keys="k", certificate="c", key="k", ca="c")

    assert archive(plain) is None
    assert archive(msgspec.structs.replace(plain, archive=str(tmp_path / "copies"))) is not None


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


_TSA = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa_config]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A time stamping authority made of openssl, on loopback."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path / "tsa"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(_TSA)
    (folder / "serial").write_text("01")
    for name, subject in (("ca", "/CN=synthetic time root"), ("tsa", "/CN=synthetic time stamps")):
        _openssl(
            folder,
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-config",
            "tsa.cnf",
            "-subj",
            subject,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
    _openssl(
        folder,
        "x509",
        "-req",
        "-in",
        "ca.csr",
        "-signkey",
        "ca.key",
        "-days",
        "30",
        "-extfile",
        "tsa.cnf",
        "-extensions",
        "ca",
        "-out",
        "ca.crt",
    )
    _openssl(
        folder,
        "x509",
        "-req",
        "-in",
        "tsa.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "30",
        "-extfile",
        "tsa.cnf",
        "-extensions",
        "tsa",
        "-out",
        "tsa.crt",
    )

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            _openssl(
                folder,
                "ts",
                "-reply",
                "-config",
                "tsa.cnf",
                "-section",
                "tsa_config",
                "-queryfile",
                "query",
                "-signer",
                "tsa.crt",
                "-inkey",
                "tsa.key",
                "-out",
                "reply",
            )
            content = (folder / "reply").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", folder / "ca.crt"
        server.shutdown()


def test_an_authority_says_when_a_head_existed(tmp_path: Path, authority: tuple[str, Path]) -> None:
    pytest.importorskip("rfc3161_client")
    address, roots = authority
    head = Signer(tmp_path / "keys").sign(3, b"\x01" * 32, time_us=5)

    response = stamps.stamp(head, address)

    moment = stamps.stamped_at(head, response, roots)
    assert moment is not None
    assert abs(moment - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=2)
    assert stamps.stamped_at(msgspec.structs.replace(head, size=4), response, roots) is None
    assert stamps.stamped_at(head, response[:-5], roots) is None


def test_an_audit_checks_the_stamps_that_the_service_asked_for(
    tmp_path: Path, authority: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rfc3161_client")
    from mailwitness.witness_commands import audit

    address, roots = authority
    table = f'\n[stamps]\nurl = "{address}"\nroots = "{roots}"\nevery_seconds = 1\n'
    with Site(tmp_path, stamps=table) as site:
        site.client().append([(hashlib.sha256(b"line").digest(), b"line")])
        wait_for(lambda: list((site.store / "stamps").glob("*.tsr")), 30)

    assert audit(store=site.store, key=site.pinned, stamp_roots=roots) == 0
    assert "the head of 1 records existed at" in capsys.readouterr().out
    stamp = next((site.store / "stamps").glob("*.tsr"))
    head = stamp.with_suffix(".json")
    head.write_bytes(head.read_bytes().replace(b'"size":1', b'"size":2'))
    assert audit(store=site.store, key=site.pinned, stamp_roots=roots) == 2
    assert "FALSE" in capsys.readouterr().out


def test_an_authority_that_does_not_answer_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    head = Signer(tmp_path / "keys").sign(3, b"\x01" * 32, time_us=5)

    with pytest.raises(WitnessError, match="does not answer"):
        stamps.stamp(head, "http://127.0.0.1:9/")
    with pytest.raises(ConfigError, match="no web address"):
        stamps.stamp(head, "file:///etc/passwd")


def test_the_service_copies_heads_and_closed_segments(tmp_path: Path) -> None:
    with Site(tmp_path, archive='"copies"', segment_bytes="3000") as site:
        for start in range(0, 100, 10):
            site.client().append(
                [(hashlib.sha256(b"%d" % i).digest(), b"line %d" % i) for i in range(start, start + 10)]
            )
        copies = site.folder / "witness" / "copies"
        wait_for(lambda: len(list(copies.glob("segments/*"))) >= 2)
        names = sorted(copies.glob("heads/*.json"))

    from mailwitness.witness.heads import Head

    assert is_genuine(msgspec.json.decode(names[-1].read_bytes(), type=Head))
    assert LocalSource(site.store, site.pinned).head.size == 100


@pytest.mark.parametrize(
    ("text", "expected"), [("192.0.2.1:6515", ("192.0.2.1", 6515)), ("[2001:db8::1]:1", ("2001:db8::1", 1))]
)
def test_addresses_are_read(text: str, expected: tuple[str, int]) -> None:
    assert endpoint(text, "https") == expected


@pytest.mark.parametrize("text", ["", "6515", "host:", "host:port", "host:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        endpoint(text, "https")


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "witness.toml"
    path.write_text('folder = "x"\nkeys = "k"\ncertificate = "c"\nkey = "k"\nca = "c"\nfsnyc = true\n')

    with pytest.raises(ConfigError, match="fsnyc"):
        read(path, Witness)


_RSYSLOG = """
global(workDirectory="{work}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{tls}/ca.crt"
  defaultNetstreamDriverCertFile="{tls}/tls.crt" defaultNetstreamDriverKeyFile="{tls}/tls.key")
module(load="imfile" pollingInterval="1")
input(type="imfile" file="{work}/mail.log" tag="mail" ruleset="out")
ruleset(name="out") {{
  action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
    streamDriver="gtls" streamDriverMode="1" streamDriverAuthMode="x509/name" streamDriverPermittedPeers="127.0.0.1"
    template="RSYSLOG_SyslogProtocol23Format" queue.type="linkedList" queue.filename="witness" queue.saveOnShutdown="on"
    action.resumeRetryCount="-1" action.resumeInterval="1")
}}
"""


def test_a_real_rsyslog_feeds_the_witness_over_mutual_tls(tmp_path: Path) -> None:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    program = shutil.which("rsyslogd", path=path)
    if program is None or not list((tmp_path.__class__("/usr/lib")).glob("*/rsyslog/lmnsd_gtls.so")):
        pytest.skip("rsyslog with its gnutls driver is not installed")
    with Site(tmp_path) as site:
        tls = site.folder / "clients" / "mail"
        config = tmp_path / "rsyslog.conf"
        config.write_text(_RSYSLOG.format(work=tmp_path, tls=tls, port=site.port["syslog"]))
        with subprocess.Popen(
            [program, "-n", "-f", str(config), "-i", str(tmp_path / "pid")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as rsyslog:
            try:
                with (tmp_path / "mail.log").open("a") as log:
                    log.writelines(f"dovecot: imap(eva): expunge: uid={i}\n" for i in range(200))

                def bodies() -> list[bytes]:
                    return [parse(content).body for _, content in site.reader().records()]

                wait_for(lambda: sum(b"expunge: uid=" in body for body in bodies()) >= 200, 40)
                records = [parse(content) for _, content in site.reader().records()]
            finally:
                rsyslog.terminate()

    assert {record.client for record in records} == {"mail"}
    assert sorted(int(r.body.rsplit(b"=", 1)[1]) for r in records if b"uid=" in r.body) == list(range(200))


_SYSLOG_NG = """@version: 3.35
source s_log {{ file("{work}/mail.log" follow-freq(0.2) flags(no-parse)); }};
destination d_witness {{
  syslog("127.0.0.1" port({port}) transport("tls")
    tls(ca-file("{tls}/ca.crt") cert-file("{tls}/tls.crt") key-file("{tls}/tls.key") peer-verify(required-trusted))
    disk-buffer(reliable(yes) disk-buf-size(1073741824) dir("{work}")));
}};
log {{ source(s_log); destination(d_witness); }};
"""


def _syslog_ng() -> tuple[list[str], dict[str, str]]:
    """Return the command and its environment; it is unpacked beside the system where rsyslog is installed."""
    root = os.environ.get("MAILWITNESS_TEST_SYSLOG_NG", "")
    if not root:
        program = shutil.which("syslog-ng", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
        return ([program] if program else []), dict(os.environ)
    libraries = [
        f"{root}/{part}" for part in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/syslog-ng")
    ]
    command = [f"{root}/usr/sbin/syslog-ng", f"--module-path={root}/usr/lib/syslog-ng/3.38"]
    return command, {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def test_a_real_syslog_ng_feeds_the_witness_over_mutual_tls(tmp_path: Path) -> None:
    command, environment = _syslog_ng()
    if not command:
        pytest.skip("syslog-ng is neither installed nor unpacked (MAILWITNESS_TEST_SYSLOG_NG)")
    with Site(tmp_path) as site:
        config = tmp_path / "syslog-ng.conf"
        config.write_text(
            _SYSLOG_NG.format(work=tmp_path, tls=site.folder / "clients" / "mail", port=site.port["syslog"])
        )
        (tmp_path / "mail.log").write_text(
            "".join(f"dovecot: imap(eva): expunge: uid={i}\n" for i in range(200))
        )
        files = [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
        with (
            (tmp_path / "said").open("wb") as said,
            subprocess.Popen(
                [*command, "-F", "--no-caps", f"--cfgfile={config}", *files],
                stdout=said,
                stderr=said,
                env=environment,
            ) as running,
        ):
            try:

                def arrived() -> list[bytes]:
                    bodies = [parse(content).body for _, content in site.reader().records()]
                    return [body for body in bodies if b"expunge: uid=" in body]

                wait_for(lambda: len(arrived()) >= 200, 40)
                records = [parse(content) for _, content in site.reader().records()]
            except AssertionError:
                raise AssertionError((tmp_path / "said").read_text("utf-8", "replace")) from None
            finally:
                running.terminate()

    assert {record.client for record in records} == {"mail"}
    assert sorted(int(r.body.rsplit(b"=", 1)[1]) for r in records if b"uid=" in r.body) == list(range(200))
