"""A bucket with Object Lock in COMPLIANCE mode, on a real object store: whoever holds the keys cannot take copies back."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mailwitness.errors import WitnessError
from mailwitness.witness.archive import Bucket
from mailwitness.witness.config import S3
from mailwitness.witness.heads import Head, is_genuine

from .ceph import ACCESS, SECRET, Ceph, missing
from .site import Site, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
KEY = "mailwitness/segments/00000001.seg"


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    pytest.importorskip("boto3")
    if program := missing():
        pytest.skip(
            f"{program} is not installed: Ceph's ceph-mon, ceph-osd, ceph-common and radosgw are needed"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with Ceph(tmp_path_factory.mktemp("ceph")) as running:
            client(running).create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
            client(running).create_bucket(Bucket="plain")
            yield running


def client(ceph: Ceph) -> Any:  # boto3 makes its clients while running
    import boto3
    import botocore.config

    plain = botocore.config.Config(s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=ceph.endpoint, region_name="us-east-1", config=plain)


def settings(ceph: Ceph, bucket: str = "evidence") -> S3:
    return S3(bucket=bucket, endpoint=ceph.endpoint, region="us-east-1", retention_days=30)


@pytest.fixture(scope="module")
def version(ceph: Ceph) -> str:
    """Return the version of a copy that our own code wrote."""
    Bucket(settings(ceph)).put("segments/00000001.seg", b"records", now=NOW)
    return str(client(ceph).list_object_versions(Bucket="evidence", Prefix=KEY)["Versions"][0]["VersionId"])


def test_a_copy_is_locked_until_its_day(ceph: Ceph, version: str) -> None:
    found = client(ceph).head_object(Bucket="evidence", Key=KEY, VersionId=version)

    assert found["ObjectLockMode"] == "COMPLIANCE"
    assert found["ObjectLockRetainUntilDate"] == NOW + dt.timedelta(days=30)


@pytest.mark.parametrize("bypass", [False, True])
def test_the_deletion_of_a_copy_is_refused(ceph: Ceph, version: str, bypass: bool) -> None:
    with pytest.raises(Exception, match="AccessDenied"):
        client(ceph).delete_object(
            Bucket="evidence", Key=KEY, VersionId=version, BypassGovernanceRetention=bypass
        )

    assert client(ceph).get_object(Bucket="evidence", Key=KEY, VersionId=version)["Body"].read() == b"records"


@pytest.mark.parametrize(
    "retention",
    [
        # Long enough ahead that it is still to come when a slow machine gets here.
        {"Mode": "COMPLIANCE", "RetainUntilDate": NOW + dt.timedelta(hours=1)},
        {"Mode": "COMPLIANCE", "RetainUntilDate": NOW + dt.timedelta(days=29)},
        {"Mode": "GOVERNANCE", "RetainUntilDate": NOW + dt.timedelta(days=30)},
        {},
    ],
    ids=["to an hour", "by a day", "to another mode", "taken away"],
)
def test_retention_is_neither_shortened_nor_weakened(
    ceph: Ceph, version: str, retention: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match=r"AccessDenied|MalformedXML|InvalidRequest"):
        client(ceph).put_object_retention(
            Bucket="evidence", Key=KEY, VersionId=version, Retention=retention, BypassGovernanceRetention=True
        )

    found = client(ceph).head_object(Bucket="evidence", Key=KEY, VersionId=version)
    assert (found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]) == (
        "COMPLIANCE",
        NOW + dt.timedelta(days=30),
    )


def test_what_is_overwritten_or_hidden_stays_under_its_version(ceph: Ceph, version: str) -> None:
    s3 = client(ceph)
    s3.put_object(Bucket="evidence", Key=KEY, Body=b"forged")
    s3.delete_object(Bucket="evidence", Key=KEY)

    assert s3.get_object(Bucket="evidence", Key=KEY, VersionId=version)["Body"].read() == b"records"


def test_neither_versions_nor_the_bucket_can_be_given_up(ceph: Ceph, version: str) -> None:
    assert version
    with pytest.raises(Exception, match="InvalidBucketState"):
        client(ceph).put_bucket_versioning(Bucket="evidence", VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(Exception, match="BucketNotEmpty"):
        client(ceph).delete_bucket(Bucket="evidence")


def test_a_bucket_without_object_lock_is_refused(ceph: Ceph) -> None:
    with pytest.raises(WitnessError, match="did not take"):
        Bucket(settings(ceph, "plain")).put("segments/00000001.seg", b"records", now=NOW)


def test_the_service_takes_heads_and_closed_segments_there(ceph: Ceph, tmp_path: Any) -> None:
    table = f'\n[s3]\nbucket = "evidence"\nprefix = "service/"\nendpoint = "{ceph.endpoint}"\nregion = "us-east-1"\nretention_days = 1\n'
    s3 = client(ceph)

    def names(kind: str) -> list[str]:
        found = s3.list_objects_v2(Bucket="evidence", Prefix=f"service/{kind}/")
        return [str(one["Key"]) for one in found.get("Contents", [])]

    with Site(tmp_path, s3=table, segment_bytes="3000") as site:
        for start in range(0, 100, 10):
            batch = [(hashlib.sha256(b"%d" % i).digest(), b"line %d" % i) for i in range(start, start + 10)]
            site.client().append(batch)
        wait_for(lambda: len(names("segments")) >= 2 and names("heads"), 60)
        first = site.store / "segments" / "00000001.seg"
        copied = s3.get_object(Bucket="evidence", Key=names("segments")[0])

        assert copied["Body"].read() == first.read_bytes()
        assert copied["ObjectLockMode"] == "COMPLIANCE"
        head = msgspec.json.decode(
            s3.get_object(Bucket="evidence", Key=names("heads")[-1])["Body"].read(), type=Head
        )
        assert is_genuine(head)
