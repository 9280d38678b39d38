"""A bucket that speaks S3's protocol: the release under its own prefix, and one object that says which is current.

    <prefix>/<release_id>/<file> ...     written first, each checked by its size and MD5 by the server
    <prefix>/current.json                written last: replacing one object is atomic

A reader gets `current.json` first and reads below the prefix it names; that release never changes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from assets.company import ObjectTarget
from assets.publish.release import MANIFEST, Release, is_release_id
from assets.publish.targets.delivery import EXTRA_MISSING, Delivered, Secrets, TargetError

POINTER = "current.json"


def deliver(name: str, target: ObjectTarget, release: Release, secrets: Secrets) -> Delivered:
    """Upload what is not there yet, point to it, and remove all but the releases to keep."""
    root = _root(target)
    with _reached(name, target, secrets) as client:
        was = _current(client, target.bucket, root)
        if was != release.release_id:
            _upload(client, target.bucket, f"{root}{release.release_id}/", release.path)
            pointer = {
                "release_id": release.release_id,
                "as_of_date": release.as_of.isoformat(),
                "prefix": f"{root}{release.release_id}/",
            }
            client.put_object(
                Bucket=target.bucket,
                Key=f"{root}{POINTER}",
                Body=json.dumps(pointer).encode(),
                ContentType="application/json",
                CacheControl="no-cache",
            )
        _prune(client, target, root, {release.release_id, was or ""})
    return Delivered(name, f"s3://{target.bucket}/{root}", release.release_id, was)


def withdraw(name: str, target: ObjectTarget, kept: Collection[str], secrets: Secrets) -> list[str]:
    """Remove the releases that are neither among `kept` nor the current one; returns their ids."""
    root = _root(target)
    with _reached(name, target, secrets) as client:
        current = _current(client, target.bucket, root)
        keys = [entry["Key"] for entry in _list(client, target.bucket, root)]
        removed = sorted(_release_ids(keys, root) - {*kept, current or ""})
        for release_id in removed:
            _remove(client, target.bucket, root, release_id, keys)
        return removed


@contextlib.contextmanager
def _reached(name: str, target: ObjectTarget, secrets: Secrets) -> Iterator[Any]:
    """A client of the object store; what it says no to becomes a TargetError."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise TargetError(f"Target {name}: " + EXTRA_MISSING.format(module=error.name)) from None
    client = boto3.client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        # None of the two: the usual ways of the machine, such as the role of an instance.
        aws_access_key_id=secrets.get("ACCESS_KEY_ID"),
        aws_secret_access_key=secrets.get("SECRET_ACCESS_KEY"),
        config=Config(
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path"} if target.endpoint else None,
        ),
    )
    try:
        yield client
    except (BotoCoreError, ClientError) as error:
        raise TargetError(
            f"Target {name}: the object store said no: {error}. Readers of the bucket {target.bucket} have the release they had. "
            "Mend it, then run `whalecurve deliver`; what was uploaded is not uploaded again."
        ) from None


def _root(target: ObjectTarget) -> str:
    prefix = target.prefix.strip("/")
    return f"{prefix}/" if prefix else ""


def _current(client: Any, bucket: str, root: str) -> str | None:
    try:
        body = client.get_object(Bucket=bucket, Key=f"{root}{POINTER}")["Body"].read()
        return str(json.loads(body)["release_id"])
    except client.exceptions.NoSuchKey:
        return None


def _upload(client: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Every file of the release that is not there with its content, the manifest last: a prefix with one is whole."""
    there = {entry["Key"]: entry["ETag"].strip('"') for entry in _list(client, bucket, prefix)}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.name == MANIFEST):
        key = prefix + path.relative_to(folder).as_posix()
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5")
        if there.get(key) == digest.hexdigest():
            continue
        with path.open("rb") as stream:
            client.put_object(
                Bucket=bucket, Key=key, Body=stream, ContentMD5=base64.b64encode(digest.digest()).decode()
            )


def _prune(client: Any, target: ObjectTarget, root: str, never: set[str]) -> None:
    """The newest releases by id stay, and always the current one and the one before: somebody is reading it."""
    keys = [entry["Key"] for entry in _list(client, target.bucket, root)]
    found = _release_ids(keys, root)
    for release_id in sorted(found - never)[: max(0, len(found) - target.keep)]:
        _remove(client, target.bucket, root, release_id, keys)


def _release_ids(keys: list[str], root: str) -> set[str]:
    """The releases among the keys; a bucket may hold other things beside them, which are nobody's to remove."""
    return {name for key in keys if is_release_id(name := key.removeprefix(root).partition("/")[0])}


def _remove(client: Any, bucket: str, root: str, release_id: str, keys: list[str]) -> None:
    gone = [key for key in keys if key.startswith(f"{root}{release_id}/")]
    # The manifest first: what has none is no release.
    for key in sorted(gone, key=lambda key: not key.endswith(f"/{MANIFEST}")):
        client.delete_object(Bucket=bucket, Key=key)


def _list(client: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get("Contents", [])]
