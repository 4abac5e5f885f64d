"""`ktrace parse`: analyse saved logs and captures."""

import click

from ktrace.analysis import Options, analyse
from ktrace.cli.output import Output, output_options
from ktrace.cli.progress import Progress


@click.command(name="parse")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path())
@output_options
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Read with N processes; the result is the same.",
)
def command(logs: tuple[str, ...], output: Output, jobs: int) -> None:
    """Analyse strace logs and ktrace captures: print a summary and what is wrong.

    LOG may be plain or compressed (.gz, .zst, .xz), "-" for standard input, or the name of a
    `strace -ff` family; several logs are traces of their own.

    \b
      ktrace parse strace.log
      ktrace parse strace.log --html report.html --json report.json
      ktrace parse strace.log --connection c3
      zcat old.gz | ktrace parse - --format ndjson
    """
    output.refuse_to_overwrite(logs)
    with Progress("reading", wanted=not output.streams) as progress:
        options = Options(
            keep=output.keep, jobs=jobs, on_connection=output.listener, progress=progress
        )
        report = analyse(logs, options)
    output.write(report)
