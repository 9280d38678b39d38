"""The `whalecurve` command: a thin face on the Dagster jobs and on the published releases.

Exit status: 0 done, 1 the data or the gate said no (the reason is printed), 2 the call was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from assets.errors import WhalecurveError
from pipelines.resources import (
    COMPANY_VARIABLE,
    DATA_VARIABLE,
    DEFAULT_COMPANY,
    PROJECT_ROOT,
    Workspace,
    business_dates,
    configure_environment,
    pull_credentials,
    quiet_child_environment,
    target_secrets,
)

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    configure_environment(arguments.company, arguments.data)
    try:
        arguments.command(arguments)
    except WhalecurveError as error:
        print(f"whalecurve: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("whalecurve: interrupted; the last release is untouched, and running again goes on.")
        sys.stdout.flush()
        os._exit(1)  # a thread in the middle of a statement would abort the process at its end, with words of its own
    except BrokenPipeError:
        # The reader of our output (head, less) went away; that is its good right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--company", type=_folder, help=f"company folder (default: ${COMPANY_VARIABLE}, then companies/demo)"
    )
    shared.add_argument("--data", type=Path, help=f"data folder (default: ${DATA_VARIABLE}, then data/)")
    parser = argparse.ArgumentParser(
        prog="whalecurve",
        description="Which customers make money, after every cost that can be traced to them.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, function: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[shared])
        added.set_defaults(command=function)
        return added

    demo = command("demo", _demo, "Let the demo company write its extracts into the landing folder.")
    demo.add_argument("--customers", type=int, default=2000, help="number of customers (default 2000)")
    demo.add_argument("--lines", type=int, default=150_000, help="number of invoice lines (default 150000)")
    demo.add_argument("--seed", type=int, default=7, help="seed of the made-up numbers (default 7)")

    pulled = command(
        "pull", _pull, "Fetch a source from its live system into the landing folder (needs the extra whalecurve[pull])."
    )
    pulled.add_argument("source", help="a source of company.yml that says `pull:`")
    pulled.add_argument("--date", type=_date, help="the delivery's business date (default: the latest business date)")

    checked = command(
        "check-source",
        _check_source,
        "Dry run of one source: what a run would read of a delivery, and what it would say.",
    )
    checked.add_argument("source", help="a source of company.yml")
    checked.add_argument("--date", type=_date, help="the delivery's business date (default: the newest delivery)")
    checked.add_argument(
        "--files", type=Path, nargs="+", metavar="FILE", help="check these files instead of a delivery"
    )

    drafted = command(
        "draft-dialect",
        _draft_dialect,
        "Propose a dialect for files nobody has described yet, each guess marked as one.",
    )
    drafted.add_argument("files", type=Path, nargs="+", metavar="FILE", help="files as the system wrote them")
    drafted.add_argument("--name", help="name of the dialect (default: made from the first file's name)")
    drafted.add_argument("--entity", help="what a row is, when it is known (an entity of assets/ingest/contract.yml)")
    drafted.add_argument("--anew", action="store_true", help="draft even where a built-in dialect fits")

    run = command(
        "run", _run, "Run business dates: read, compute, pass the gate, publish. Default: all that is delivered."
    )
    run.add_argument("--date", type=_date, help="one business date")
    run.add_argument("--from", dest="first", type=_date, help="first business date of a range, run at once")
    run.add_argument("--to", dest="last", type=_date, help="last business date of the range")
    run.add_argument(
        "--as-known",
        choices=("now", "then"),
        default="now",
        help="then: make the release of --date again from what was delivered up to that date, beside the releases (default: now)",
    )

    command(
        "rebuild",
        _rebuild,
        "Build every table of the warehouse in full from what was read before, and publish; a run brings them up to date.",
    )
    command("summary", _summary, "Print what the current release says: customers, whale curve, ledger identity.")
    ui = command("ui", _ui, "Open the Dagster UI on this company and data folder.")
    ui.add_argument("--port", type=int, default=3000, help="port on the loopback address (default 3000)")

    bi = command(
        "bi", _bi, "Open the BI dashboards (Apache Superset) on the current release; `make bi` installs it first."
    )
    bi.add_argument("--port", type=int, default=8088, help="port on the loopback address (default 8088)")

    serve = command(
        "serve", _serve, "Run one part of Dagster as a service: the code with its runs, the web pages, or the daemon."
    )
    serve.add_argument("part", choices=("code", "webserver", "daemon"), help="which part")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    serve.add_argument("--port", type=int, help="port to listen on (default: code 4266, webserver 3000)")
    serve.add_argument("--read-only", action="store_true", help="a webserver where nothing can be started or changed")
    serve.add_argument(
        "--code", default="127.0.0.1:4266", metavar="HOST:PORT", help="where the code is served (default here)"
    )

    explain = command(
        "explain", _explain, "Show where a cost comes from and where it goes, down to ledger lines and driver rows."
    )
    explain.add_argument(
        "what", help="customer id, such as C00042, residual line, such as UNUSED:picking, or cost pool"
    )
    explain.add_argument("--month", type=_month, help="month, such as 2025-06 (default: the latest with cost)")
    explain.add_argument("--pool", help="only this cost pool")
    explain.add_argument(
        "--by-ledger-line", action="store_true", help="the cents of each ledger line in each cost line"
    )

    shown = command("customer", _customer, "Show one customer of a release: what they earn and why, and what to do.")
    shown.add_argument("customer", help="customer id, such as C00042, or the id the CRM knows")
    shown.add_argument("--release", help="release id, or how it begins (default: the current release)")
    shown.add_argument("--output", type=Path, metavar="FILE", help="also write the customer's page (HTML) to this file")

    command("releases", _releases, "List the releases and say which one is current.")
    compared = command(
        "diff", _diff, "Compare two releases: what came, what was ruled, and the cents moved per customer."
    )
    compared.add_argument("before", help="release id, or how it begins")
    compared.add_argument("after", nargs="?", help="release id, or how it begins (default: the current release)")
    rollback = command("rollback", _rollback, "Make an earlier release the current one.")
    rollback.add_argument("release", nargs="?", help="release id (default: the one before the current)")
    delivered = command("deliver", _deliver, "Bring the release targets of company.yml to the current release.")
    delivered.add_argument("target", nargs="?", help="a name below `releases: targets:` (default: all of them)")
    approved = command(
        "approve",
        _approve,
        "Let a release out in spite of a named check; who and why is published with it. Without a check: list what stops it.",
    )
    approved.add_argument("check", nargs="?", help="name of the check, as the gate's message has it")
    approved.add_argument("--table", help="the table it was made on")
    approved.add_argument("--reason", help="why it may be released all the same; published")
    approved.add_argument("--by", metavar="NAME", help="who says so; published")
    approved.add_argument(
        "--as-of", type=_date, help="the release's date (default: the latest business date delivered)"
    )
    restated = command(
        "restate",
        _restate,
        "Publish months that were over with the figures they have now; who and why is published with them.",
    )
    restated.add_argument(
        "months", type=_month, nargs="+", metavar="MONTH", help="a month that is over, such as 2025-06"
    )
    restated.add_argument("--reason", required=True, help="why its figures are others now; published")
    restated.add_argument("--by", metavar="NAME", required=True, help="who says so; published")
    asked = command(
        "what-if",
        _what_if,
        "Compute customer profit under other rules, settings and prices, beside the releases; publishes nothing.",
    )
    asked.add_argument("scenario", type=Path, metavar="FILE", help="the scenario, as YAML")
    documented = command(
        "docs", _docs, "Write the data catalogue of the current release, with dbt's docs and Data Docs beside it."
    )
    documented.add_argument("--output", type=Path, metavar="DIR", help="folder (default: docs in the data folder)")
    forget = command(
        "forget", _forget, "Erase one person from raw layer, warehouse and releases; says what it touches before --yes."
    )
    forget.add_argument("who", help="customer id, account code, e-mail address or exact name")
    forget.add_argument("--source", help="only the customer this source knows so, where several are meant")
    forget.add_argument("--reason", help="why; kept in the erasure register, so without naming the person")
    forget.add_argument("--date", type=_date, help="date the register notes (default: the latest business date)")
    forget.add_argument("--yes", action="store_true", help="do it; without, nothing is changed")
    forget.add_argument("--dry-run", action="store_true", help="only say what would be touched (the default)")
    command(
        "doctor",
        _doctor,
        "Check installation, settings, disk, clock, landing, release and Dagster, and say what to do.",
    )
    history = command("runs", _runs, "List the runs: when, of which dates, by whom, how long, how they ended.")
    history.add_argument("--limit", type=int, default=20, help="newest runs shown (default 20)")
    history.add_argument("--output", type=Path, metavar="FILE", help="also write all runs and columns to this CSV file")
    measured = command(
        "metrics", _metrics, "Print figures for monitoring in Prometheus' format: rows, seconds, lag, cents on nobody."
    )
    measured.add_argument("--output", type=Path, metavar="FILE", help="write them to this file, whole, instead")
    command("verify", _verify, "Check every file of the current release against its manifest.")
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"'{text}' is not a folder")
    return path


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-06-30") from None


def _month(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(f"{text}-01")
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a month such as 2025-06") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _demo(arguments: Arguments) -> None:
    """The demo company's own script writes the files: nothing about one company stands in code here."""
    workspace = Workspace.from_environment()
    script = DEFAULT_COMPANY / "write_extracts.py"
    spec = importlib.util.spec_from_file_location("write_extracts", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.write_extracts(
        workspace.landing,
        seed=arguments.seed,
        customers=arguments.customers,
        invoice_lines=arguments.lines,
        progress=_say,
    )
    print(f"The demo company's extracts lie in {workspace.landing}.")


def _pull(arguments: Arguments) -> None:
    from assets.ingest.pull import pull
    from assets.yaml_files import shown_path
    from pipelines.runs import require_known
    from pipelines.writer import single_writer

    workspace = Workspace.from_environment()
    company = workspace.company()
    date = arguments.date or datetime.date.fromisoformat(business_dates(company).get_partition_keys()[-1])
    require_known(company, date)
    _say(f"Pulling {arguments.source} for {date}:")
    files = pull(
        company,
        arguments.source,
        date,
        landing=workspace.landing,
        states=workspace.data / "pull",
        credentials=pull_credentials(arguments.source),
        placing=lambda: single_writer(_say, "whalecurve pull"),
        say=_say,
    )
    folder = shown_path(workspace.landing / arguments.source / date.isoformat())
    print(f"{len(files)} files lie in {folder}. Read them with `whalecurve run --date {date}`.")


def _check_source(arguments: Arguments) -> None:
    from assets.ingest.check import as_delivery, check_delivery, newest_delivery
    from assets.ingest.check_text import check_text
    from assets.ingest.dialect import load_dialect
    from pipelines.runs import require_known

    workspace = Workspace.from_environment()
    company = workspace.company()
    source = arguments.source
    if source not in company.sources:
        _wrong_call(f"'{source}' is not a source of {company.name}; choose from {', '.join(company.sources)}")
    spoken = company.sources[source]
    dialect = load_dialect(spoken.dialect, workspace.company_folder, timezone=spoken.timezone, currency=spoken.currency)
    if arguments.files:
        for file in arguments.files:
            if not file.is_file():
                _wrong_call(f"'{file}' is not a file")
        date = arguments.date or datetime.date.fromisoformat(business_dates(company).get_partition_keys()[-1])
        place: contextlib.AbstractContextManager[Path] = as_delivery(arguments.files)
    else:
        date = arguments.date or newest_delivery(workspace.landing, source)
        place = contextlib.nullcontext(workspace.landing / source / date.isoformat())
    problems = []
    try:
        require_known(company, date)
    except WhalecurveError as error:
        problems.append(str(error))
    with place as folder:
        check = check_delivery(
            *(folder, source, dialect, date), max_share=company.quarantine.max_share, problems=problems
        )
    print(check_text(check))
    if not check.would_load:
        raise SystemExit(1)


def _draft_dialect(arguments: Arguments) -> None:
    from assets.ingest.contract import load_contract
    from assets.ingest.draft import draft_dialect

    for file in arguments.files:
        if not file.is_file():
            _wrong_call(f"'{file}' is not a file")
    if arguments.entity and arguments.entity not in load_contract().entities:
        _wrong_call(f"'{arguments.entity}' is not an entity; choose from {', '.join(load_contract().entities)}")
    print(draft_dialect(arguments.files, name=arguments.name, entity=arguments.entity, anew=arguments.anew), end="")


def _run(arguments: Arguments) -> None:
    from assets.ingest.raw import delivered_dates
    from pipelines.runs import run_dates

    workspace = Workspace.from_environment()
    first, last = arguments.first or arguments.date, arguments.last or arguments.date
    if arguments.date and (arguments.first or arguments.last):
        _wrong_call("--date is for one date, --from and --to for a range: give one or the other")
    if (first is None) != (last is None):
        _wrong_call("--from and --to go together")
    if arguments.as_known == "then":
        if not arguments.date:
            _wrong_call("--as-known then is for one date: give it with --date")
        _run_as_known_then(arguments.date)
        return
    if first is None:
        delivered = sorted(set().union(*delivered_dates(workspace.landing, list(workspace.company().sources)).values()))
        if not delivered:
            raise WhalecurveError(
                f"Nothing was delivered yet: {workspace.landing} holds no <source>/<YYYY-MM-DD>/ folder with files for "
                f"the sources {', '.join(workspace.company().sources)}. Put extracts there, or run `whalecurve demo` first."
            )
        first, last = delivered[0], delivered[-1]
    if last < first:
        _wrong_call(f"the range ends ({last}) before it begins ({first})")
    span = str(first) if first == last else f"{first} to {last}"
    _say(f"Running {span} for {workspace.company().name}:")
    run_dates(first, last, say=_say)
    _summary(arguments)


def _run_as_known_then(date: datetime.date) -> None:
    from assets.publish.summary import summary
    from pipelines.as_known import run_as_known_then

    _say(f"Running {date} for {Workspace.from_environment().company().name} as it was known then:")
    releases, standing = run_as_known_then(date, say=_say)
    print(summary(releases))
    print(standing)


def _rebuild(arguments: Arguments) -> None:
    from pipelines.runs import rebuild

    _say(f"Building the warehouse of {Workspace.from_environment().company().name} in full:")
    rebuild(say=_say)
    _summary(arguments)


def _wrong_call(text: str) -> None:
    print(f"whalecurve: {text}.", file=sys.stderr)
    raise SystemExit(2)


def _summary(arguments: Arguments) -> None:
    from assets.publish.summary import summary

    print(summary(Workspace.from_environment().releases))


def _explain(arguments: Arguments) -> None:
    from assets.publish.explain import explain

    workspace = Workspace.from_environment()
    asked = (arguments.what, arguments.month, arguments.pool)
    print(explain(workspace.releases, *asked, by_ledger_line=arguments.by_ledger_line))


def _customer(arguments: Arguments) -> None:
    from assets.publish.customer_page import customer_page, write_page
    from assets.publish.release import find
    from assets.publish.summary import open_database

    workspace = Workspace.from_environment()
    company = workspace.company()
    release = find(workspace.releases, arguments.release)
    with open_database(release.path) as connection:
        found = customer_page(
            *(connection, arguments.customer),
            company=company.name,
            currency=company.base_currency,
            language=company.report.language,
        )
    print(found.text)
    if arguments.output:
        write_page(found.html, arguments.output, workspace.releases)
        _say(f"Page      {arguments.output}")


def _releases(arguments: Arguments) -> None:
    from assets.publish.release import releases, require_current

    folder = Workspace.from_environment().releases
    require_current(folder)
    for release in releases(folder):
        mark = "*" if release.is_current else " "
        print(f"{mark} {release.release_id}  as of {release.as_of}, {len(release.manifest.get('tables', {}))} tables")


def _diff(arguments: Arguments) -> None:
    from assets.publish.diff import compare, diff_text

    print(diff_text(compare(Workspace.from_environment().releases, arguments.before, arguments.after)))


def _rollback(arguments: Arguments) -> None:
    from assets.publish.release import require_current, rollback

    folder = Workspace.from_environment().releases
    require_current(folder)
    release = rollback(folder, arguments.release)
    print(f"The current release is now {release.release_id}.")
    if Workspace.from_environment().company().releases.targets:
        print("Release targets still have the one before: `whalecurve deliver` brings them to it.")


def _deliver(arguments: Arguments) -> None:
    from assets.publish.release import require_current
    from assets.publish.targets.delivery import deliver

    workspace = Workspace.from_environment()
    targets = workspace.company().releases.targets
    if arguments.target and arguments.target not in targets:
        known = ", ".join(targets) or "none is declared"
        _wrong_call(f"'{arguments.target}' is not a target of {workspace.company().name}; choose from: {known}")
    if not targets:
        raise WhalecurveError(
            "company.yml declares no `releases: targets:`; readers find the release in the data folder."
        )
    release = require_current(workspace.releases)
    failures = []
    for name in [arguments.target] if arguments.target else targets:
        try:
            done = deliver(name, targets[name], release, target_secrets(name))
        except WhalecurveError as error:
            failures.append(str(error))
        else:
            was = f"had {done.was or 'nothing'}" if done.is_new else "had it already"
            print(f"{name}: {done.place} has {done.release_id} ({was}).")
    if failures:
        raise WhalecurveError("\n".join(failures))


def _approve(arguments: Arguments) -> None:
    from pipelines.approve import approve, stopping_text

    workspace = Workspace.from_environment()
    if arguments.check is None:
        print(stopping_text(workspace))
        return
    for option in ("table", "reason", "by"):
        if not (getattr(arguments, option) or "").strip():
            _wrong_call(
                f"approving {arguments.check} needs --{option}: an approval names its check and table, and says who and why"
            )
    asked = {"table": arguments.table, "reason": arguments.reason, "by": arguments.by, "as_of": arguments.as_of}
    print(approve(workspace, arguments.check, **asked, say=_say))


def _restate(arguments: Arguments) -> None:
    from pipelines.restate import restate

    print(restate(arguments.months, by=arguments.by, reason=arguments.reason, say=_say))


def _what_if(arguments: Arguments) -> None:
    from assets.costing.scenario import load_scenario
    from pipelines.what_if import what_if

    answer = what_if(load_scenario(arguments.scenario), say=_say)
    print(answer.text)
    print(f"\nCustomers {answer.folder / 'customers.csv'}")


def _docs(arguments: Arguments) -> None:
    from pipelines.catalogue import write

    print(f"The data catalogue is in {write(Workspace.from_environment(), arguments.output)}.")


def _forget(arguments: Arguments) -> None:
    from pipelines.forget import forget

    really = arguments.yes and not arguments.dry_run
    if really and not (arguments.reason or "").strip():
        _wrong_call("--yes needs a --reason: who looks at the register later must see why the person was erased")
    workspace = Workspace.from_environment()
    print(
        forget(
            *(workspace, arguments.who),
            source=arguments.source,
            reason=arguments.reason or "",
            on=arguments.date,
            really=really,
            say=_say,
        )
    )


def _verify(arguments: Arguments) -> None:
    from assets.publish.release import require_current, verify

    release = require_current(Workspace.from_environment().releases)
    problems = verify(release.path)
    if problems:
        raise WhalecurveError("\n".join([f"Release {release.release_id} is not as it was published:", *problems]))
    print(f"Release {release.release_id}: every file is as it was published.")


def _runs(arguments: Arguments) -> None:
    from pipelines.run_history import instance, run_history, text, write

    if arguments.limit < 1:
        _wrong_call("--limit is the number of runs to show, 1 or more")
    workspace = Workspace.from_environment()
    with instance() as dagster:
        runs = run_history(dagster, workspace.data)
    print(text(runs[: arguments.limit], workspace.company().timezone))
    if arguments.output:
        write(runs, arguments.output)


def _metrics(arguments: Arguments) -> None:
    from assets.publish.release import current
    from assets.publish.summary import open_database
    from pipelines import metrics
    from pipelines.run_history import instance, run_history

    workspace = Workspace.from_environment()
    company = workspace.company()
    with instance() as dagster:
        runs = run_history(dagster, workspace.data, limit=metrics.COUNTED_RUNS)
        last = metrics.last_ended_run(runs)
        found = list(metrics.of_runs(runs, metrics.step_seconds(dagster, last.run_id) if last else {}))
    release = current(workspace.releases)
    if release is not None:
        with open_database(release.path) as connection:
            found += metrics.of_release(release, connection, company, datetime.datetime.now(datetime.UTC))
    text = metrics.exposition(found, company.company)
    if arguments.output:
        metrics.write(text, arguments.output)
    else:
        print(text, end="")


def _doctor(arguments: Arguments) -> None:
    from pipelines.doctor import PROBLEM, examine, text

    found = examine(Workspace.from_environment(), datetime.datetime.now(datetime.UTC))
    print(text(found))
    if any(finding.level == PROBLEM for finding in found):
        raise SystemExit(1)


def _serve(arguments: Arguments) -> None:
    from pipelines.services import become

    become(
        arguments.part,
        host=arguments.host,
        port=arguments.port,
        read_only=arguments.read_only,
        code=arguments.code,
    )


def _ui(arguments: Arguments) -> None:
    from pipelines.runs import prepare_instance

    prepare_instance()
    _say(f"The Dagster UI opens at http://127.0.0.1:{arguments.port} in about half a minute; stop it with Ctrl+C.")
    command = ["dagster", "dev", "--host", "127.0.0.1", "--port", str(arguments.port)]
    try:
        status = subprocess.run(
            [sys.executable, "-m", *command, "--workspace", str(PROJECT_ROOT / "workspace.yaml")],
            cwd=PROJECT_ROOT,
            env=quiet_child_environment(),
            check=False,
        ).returncode
    except KeyboardInterrupt:
        return
    if status:
        raise WhalecurveError(f"The Dagster UI ended with status {status}; is port {arguments.port} in use?")


def _bi(arguments: Arguments) -> None:
    from pipelines.bi import become

    workspace = Workspace.from_environment()
    targets = workspace.company().releases.targets
    _say("Superset makes itself ready, in a quarter of a minute; the first time takes twice that. Stop it with Ctrl+C.")
    become(workspace.data, targets, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
