"""`ktrace check`: the regression gate."""

import datetime
import os
import shutil
import sys
from collections.abc import Sequence

import click

from ktrace.analysis import Options, analyse
from ktrace.check import baseline as baselines
from ktrace.check import github, junit, markdown, policy, sarif, text
from ktrace.check.counts import Census
from ktrace.check.judge import judge
from ktrace.check.result import CheckedReport, CheckResult
from ktrace.check.run import Run, run_of
from ktrace.cli.budget import Budget
from ktrace.cli.checkoptions import files_options, policy_options
from ktrace.cli.progress import Progress
from ktrace.errors import KtraceError
from ktrace.findings import Report
from ktrace.reporters import REPORTERS, write_atomically
from ktrace.rules import RULES
from ktrace.timelines import Judged

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@click.command(name="check")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path())
@click.option(
    "-b",
    "--baseline",
    multiple=True,
    metavar="FILE-OR-LOG",
    help="What no rate may be worse than: a trace, a report's JSON, or a small baseline.",
)
@policy_options
@files_options
@click.option("--github", "annotate", is_flag=True, help="Print annotations for GitHub Actions.")
@click.option(
    "--baseline-addresses",
    is_flag=True,
    help="With --update-baseline: keep counts for each peer, with its address.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=1, metavar="N", help="Read with N processes."
)
def command(
    logs: tuple[str, ...],
    baseline: tuple[str, ...],
    policy_path: str | None,
    limits: policy.Limits,
    files: dict[str, str],
    annotate: bool,
    baseline_addresses: bool,
    jobs: int,
) -> int:
    """Fail when kTLS got worse: judge a trace by a policy, and against a baseline.

    Without a policy no connection may race, lost or lucky; against a baseline no rate may be worse
    and no error new. Too little evidence never passes.

    \b
      ktrace check new.log
      ktrace check new.log --baseline main.json --junit ktls.xml
      ktrace check new.log --policy ktrace.toml --min-attempted 30

    Exit status: 0 passed, 1 failed, 2 not done, 3 inconclusive.
    """
    codes = tuple(rule.code for rule in RULES)
    rules = policy.load(policy_path, limits, codes)
    _refuse_to_overwrite(files, (*logs, *baseline))
    whole = "html" in files or "json" in files
    before = _read(baseline, jobs, whole, "baseline") if baseline else None
    candidate = _read(logs, jobs, whole, "candidate")
    result = judge(rules, candidate, before, datetime.datetime.now(datetime.UTC).date())
    _write_files(files, result, candidate, before, baseline_addresses)
    _append_summary(result)
    click.echo(text.render(result, _width(), _colour()), nl=False)
    if annotate:
        click.echo(github.render(result), nl=False)
    return result.exit_status


def _read(paths: Sequence[str], jobs: int, whole: bool, label: str) -> Run:
    """Read a run: a JSON document alone, or one trace of any number of files."""
    if len(paths) == 1 and baselines.is_json(paths[0]):
        run = baselines.load(paths[0])
        if run is not None:
            return _need_findings(run) if label == "candidate" else run
    census, budget = Census(), Budget()

    def on_connection(judged: Judged) -> None:
        census.add_judged(judged)
        if whole and judged.connection.has_ktls:
            budget.add(judged.connection)

    with Progress(f"reading the {label}") as progress:
        options = Options(
            keep="ktls" if whole else "none",
            jobs=jobs,
            on_connection=on_connection,
            timelines=whole,
            progress=progress,
        )
        report = analyse(paths, options)
    return run_of(report, census, census.counts())


def _need_findings(run: Run) -> Run:
    if run.report is None:
        raise KtraceError(
            "candidate-is-a-baseline",
            f"{run.name}: a small baseline holds no connections to judge",
            "give the trace itself, or a report: ktrace parse LOG --json FILE",
        )
    return run


def _write_files(
    files: dict[str, str], result: CheckResult, candidate: Run, before: Run | None, addresses: bool
) -> None:
    """Write every file that was asked for; a small baseline may be refused, before anything is."""
    paths = dict(files)
    if update := paths.pop("update_baseline", None):
        _write(update, baselines.render(candidate, addresses))
    for name, path in paths.items():
        if name == "json":
            REPORTERS["json"].write(_checked(result, candidate), path)
        else:
            _write(path, _render(name, result, candidate, before))


def _write(path: str, content: str) -> None:
    with write_atomically(path) as file:
        file.write(content)


def _render(name: str, result: CheckResult, candidate: Run, before: Run | None) -> str:
    match name:
        case "junit":
            return junit.render(result)
        case "markdown":
            return markdown.render(result)
        case "sarif":
            return sarif.render(result, candidate)
    from ktrace.reporters.html import render_compare

    assert candidate.report is not None
    page: str = render_compare(result, before.report if before else None, candidate.report)
    return page


def _checked(result: CheckResult, candidate: Run) -> CheckedReport:
    """Return the candidate's report with the conclusion; its JSON can be a baseline later."""
    report = candidate.report
    assert report is not None
    fields = {name: getattr(report, name) for name in Report.__struct_fields__}
    return CheckedReport(**fields, check=result, counts=candidate.counts)


def _append_summary(result: CheckResult) -> None:
    """Add the Markdown to the summary of a GitHub Actions job."""
    path = os.environ.get(SUMMARY_VARIABLE)
    if path:
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(markdown.render(result))


def _refuse_to_overwrite(files: dict[str, str], inputs: Sequence[str]) -> None:
    """Fail before the work where an output would replace an input or another output.

    The small baseline may replace the one that was read: that is what updating is.
    """
    read = {os.path.realpath(path) for path in inputs}
    taken: set[str] = set()
    for name, path in files.items():
        real = os.path.realpath(path)
        if real in taken or (real in read and name != "update_baseline"):
            option = name.replace("_", "-")
            raise KtraceError(
                "same-file",
                f"--{option} {path} would overwrite an input or another output",
                "give another file name",
            )
        taken.add(real)
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise KtraceError("no-folder", f"{folder}: no such folder", "make the folder first")


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
