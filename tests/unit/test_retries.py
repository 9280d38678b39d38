"""What is tried again: a disk or share that fails for a moment, never data that is bad."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import dagster as dg
import pytest

from assets.errors import DeliveryError
from assets.ingest import delivery, raw
from assets.ingest.engine import Outcome
from pipelines.resources import Workspace, business_dates

COMPANY = """
company: tea
name: Tea
base_currency: EUR
first_business_date: 2026-06-01
sources: {till: {dialect: quickbooks}}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Runs the reading of one entity, whose load goes through `errors` before it succeeds; gives the run and the attempts."""
    (tmp_path / "company.yml").write_text(COMPANY)
    monkeypatch.setattr(raw, "SECONDS_BETWEEN", 0)

    def run(*errors):
        attempts = []

        def load(*_, **__):
            attempts.append(1)
            if len(attempts) <= len(errors):
                raise errors[len(attempts) - 1]
            return Outcome("absent", None)

        monkeypatch.setattr(raw, "load_delivery", load)
        workspace = Workspace(company_path=str(tmp_path), data_path=str(tmp_path / "data"))
        dates = business_dates(workspace.company())
        asset = next(one for one in raw.raw_assets(dates) if one.key.path == ["raw", "invoice"])
        day = dates.get_first_partition_key()
        result = dg.materialize([asset], resources={"workspace": workspace}, partition_key=day, raise_on_error=False)
        return result, len(attempts)

    return run


def failed(times=1, number=errno.ESTALE):
    return [delivery._unreadable(Path("sales.csv"), "till, 2026-06-30", OSError(number, os.strerror(number)))] * times


def test_a_share_that_comes_back_is_read(read):
    result, attempts = read(*failed(2), OSError(errno.EIO, "Input/output error"))
    assert result.success
    assert attempts == 4


def test_a_share_that_stays_away_fails_with_its_sentence(read):
    from pipelines.runs import _failure

    result, attempts = read(*failed(9))
    assert (result.success, attempts) == (False, 1 + raw.RETRIES)
    said = _failure(result)
    assert said.startswith("The run stopped at raw.invoice.")
    assert said.splitlines()[1].startswith(
        "till, 2026-06-30: sales.csv cannot be read (Stale file handle): its disk or share failed."
    )


@pytest.mark.parametrize(
    "error",
    [
        DeliveryError("half a voucher"),
        *failed(number=errno.EACCES),
        *failed(number=errno.ENOENT),
        OSError(errno.ENOSPC, "full"),
    ],
)
def test_bad_data_closed_files_and_a_full_disk_are_said_at_once(read, error):
    result, attempts = read(error)
    assert (result.success, attempts) == (False, 1)


def test_an_archive_on_a_share_that_fails_is_no_bad_archive(tmp_path, monkeypatch):
    (tmp_path / "sales.zip").write_bytes(b"PK")

    def fails(*_, **__):
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with pytest.raises(DeliveryError, match="not a readable zip"):
        delivery.delivered_files(tmp_path, ["*.csv"], "till")
    monkeypatch.setattr(delivery.zipfile, "ZipFile", fails)
    with pytest.raises(delivery.StorageFailed, match="Connection timed out"):
        delivery.delivered_files(tmp_path, ["*.csv"], "till")


def test_a_damaged_release_is_offered_to_a_target_once(tmp_path, monkeypatch):
    """What the target itself says no to is tried again: a database that restarts."""
    from assets.company import load_company
    from assets.publish.targets import asset
    from assets.publish.targets.delivery import ReleaseDamaged

    (tmp_path / "company.yml").write_text(COMPANY + "releases: {targets: {share: {kind: folder, path: /nowhere}}}\n")
    attempts = []

    def damaged(*_):
        attempts.append(1)
        raise ReleaseDamaged("a file has changed")

    monkeypatch.setattr(asset, "deliver", damaged)
    monkeypatch.setattr(asset, "require_current", lambda folder: None)
    (target,) = asset.target_assets(load_company(tmp_path))
    workspace = Workspace(company_path=str(tmp_path), data_path=str(tmp_path / "data"))
    result = dg.materialize([target], resources={"workspace": workspace}, raise_on_error=False)
    assert (result.success, len(attempts)) == (False, 1)
    assert target.op.retry_policy.max_retries == 2
