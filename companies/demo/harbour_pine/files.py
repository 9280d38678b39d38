"""Writing the rendered tables as the files of 31 deliveries."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from harbour_pine.dirt import CUT_OFF, record_to_cut
from harbour_pine.profile import FIRST_DAY, LAST_DAY, START, date_of
from harbour_pine.world import World


class Extract(NamedTuple):
    """One file a source delivers: rendered table, name ({first} and {last} are dates), and how it is written."""

    source: str
    table: str
    name: str
    style: str
    every_day: bool  # else only on days with rows: a master file comes when it changes


EXTRACTS = (
    Extract("billing", "billing_product", "产品.csv", "billing", False),
    Extract("billing", "billing_invoice", "发票.csv", "billing", True),
    Extract("billing", "billing_line", "发票明细.csv", "billing", True),
    Extract("billing", "billing_payment", "回款.csv", "billing", True),
    Extract("billing", "billing_application", "回款核销.csv", "billing", True),
    Extract("ledger", "ads_account", "Chart_Of_Accounts_{last}.txt", "ads", False),
    Extract("ledger", "ads_segment", "Segment01_Listing_{last}.txt", "ads", False),
    Extract("ledger", "ads_balance", "Trial_Balance_{first}_{last}.txt", "ads", False),
    Extract("ledger", "ads_gl", "GL_Detail_{first}_{last}.txt", "ads", True),
    Extract("crm_international", "sf_user", "User.csv", "salesforce", False),
    Extract("crm_international", "sf_account", "Account.csv", "salesforce", False),
    Extract("crm_international", "sf_case", "Case.csv", "salesforce", True),
    Extract("crm_international", "sf_task", "Task.csv", "salesforce", True),
    Extract("crm_international", "sf_event", "Event.csv", "salesforce", True),
    Extract("crm_international", "sf_survey", "CSAT_Response__c.csv", "salesforce", False),
    Extract("crm_international", "sf_campaign", "Campaign.csv", "salesforce", False),
    Extract("crm_international", "sf_member", "CampaignMember.csv", "salesforce", False),
    Extract("crm_international", "sf_opportunity", "Opportunity.csv", "salesforce", False),
    Extract("crm_china", "fx_user", "PersonnelObj.jsonl", "jsonl", False),
    Extract("crm_china", "fx_account", "AccountObj.jsonl", "jsonl", False),
    Extract("crm_china", "fx_case", "CasesObj.jsonl", "jsonl", True),
    Extract("crm_china", "fx_record", "ActiveRecordObj.jsonl", "jsonl", True),
    Extract("crm_china", "fx_checkin", "CheckinsObj.jsonl", "jsonl", True),
    Extract("crm_china", "fx_survey", "AppraiseObj.jsonl", "jsonl", False),
    Extract("crm_china", "fx_campaign", "MarketingEventObj.jsonl", "jsonl", False),
    Extract("crm_china", "fx_member", "CampaignMembersObj.jsonl", "jsonl", False),
    Extract("crm_china", "fx_opportunity", "NewOpportunityObj.jsonl", "jsonl", False),
)
LARGE = 20_000
"""From so many rows on DuckDB writes the file; below, Python's csv module is quicker than another statement."""
CSV_STYLES: dict[str, dict[str, Any]] = {
    "billing": {"encoding": "gb18030", "delimiter": ",", "quoting": csv.QUOTE_MINIMAL},
    "salesforce": {"encoding": "utf-8", "delimiter": ",", "quoting": csv.QUOTE_ALL},
    "ads": {"encoding": "utf-8", "delimiter": "|", "quoting": csv.QUOTE_MINIMAL},
}


def write_files(world: World, landing: Path, progress: Callable[[str], None]) -> int:
    """Write every delivery of every source; return the number of files.

    What an earlier run with other sizes left in the delivery folders is removed: two companies mixed would never tie.
    """
    written: set[Path] = set()
    last_of = {extract.source: extract for extract in EXTRACTS}
    for extract in EXTRACTS:
        columns = [row[0] for row in world.con.execute(f"describe {extract.table}").fetchall() if row[0] != "seen"]
        first_count = world.value(f"select count(*) from {extract.table} where seen = {FIRST_DAY}")
        large = first_count >= LARGE and extract.style in CSV_STYLES
        by_day: dict[int, list[tuple[Any, ...]]] = {day: [] for day in range(FIRST_DAY, LAST_DAY + 1)}
        listed = ", ".join(f'"{c}"' for c in columns)
        written_here = f"where seen > {FIRST_DAY}" if large else ""
        found = world.con.execute(f"select {listed}, seen from {extract.table} {written_here} order by seen, rowid")
        for *row, seen in found.fetchall():
            by_day[seen].append(tuple(row))
        for day, rows in by_day.items():
            if not (rows or extract.every_day or day == FIRST_DAY):
                continue
            path = _path(landing, extract, day)
            if large and day == FIRST_DAY:
                _copy_csv(world, extract, listed, path)
            elif extract.style == "jsonl":
                _write_jsonl(path, columns, rows)
            else:
                _write_csv(path, columns, rows, CSV_STYLES[extract.style])
            written.add(path)
        if extract is last_of[extract.source]:
            files = sum(path.parts[-3] == extract.source for path in written)
            progress(f"  {extract.source:<18} {files:>4} files")
    for table, key in CUT_OFF:
        extract = next(e for e in EXTRACTS if e.table == table)
        for record in record_to_cut(world, table, key):
            cut_line(_path(landing, extract, FIRST_DAY), record)
    for source in {extract.source for extract in EXTRACTS}:
        for day in range(FIRST_DAY, LAST_DAY + 1):
            for path in (landing / source / date_of(day).isoformat()).iterdir():
                if path.is_file() and path not in written:
                    path.unlink()
    return len(written)


def _path(landing: Path, extract: Extract, day: int) -> Path:
    first = START if day == FIRST_DAY else date_of(day)
    folder = landing / extract.source / date_of(day).isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / extract.name.format(first=first.strftime("%Y%m%d"), last=date_of(day).strftime("%Y%m%d"))


def _copy_csv(world: World, extract: Extract, listed: str, path: Path) -> None:
    """The first extract of a large table, written by DuckDB."""
    style = CSV_STYLES[extract.style]
    quote_all = style["quoting"] == csv.QUOTE_ALL
    forced = ", force_quote *" if quote_all else ""
    # An empty text would be written as "" where not everything is quoted; nothing at all is what these systems write.
    values = "*" if quote_all else "nullif(columns(*), '')"
    world.con.execute(
        f"copy (select {values} from (select {listed} from {extract.table} where seen = {FIRST_DAY} order by rowid)) "
        f"to '{path.as_posix()}' (format csv, header, delimiter '{style['delimiter']}'{forced})"
    )
    if style["encoding"] != "utf-8":
        path.write_bytes(path.read_bytes().decode("utf-8").encode(style["encoding"]))


def _write_csv(path: Path, columns: list[str], rows: list[tuple[Any, ...]], style: dict[str, Any]) -> None:
    with path.open("w", encoding=style["encoding"], newline="") as stream:
        writer = csv.writer(stream, delimiter=style["delimiter"], quoting=style["quoting"], lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _write_jsonl(path: Path, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """One object per line; what is null is absent, as the OpenAPI leaves it out unless asked."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for row in rows:
            record = {column: value for column, value in zip(columns, row, strict=True) if value is not None}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def cut_line(path: Path, record: str) -> None:
    """Cut the line of a record in the middle, as a broken transfer leaves it; in quoted CSV after a field."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for position, line in enumerate(lines):
        if line.startswith((f'"{record}"', f'{{"_id": "{record}"')):
            lines[position] = line[: len(line) // 2] if line.startswith("{") else ",".join(line.split(",")[:4])
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
