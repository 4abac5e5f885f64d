"""`ktrace scrub`: take key material out of a log before it is shown to anyone."""

import click

from ktrace.cli.progress import Progress
from ktrace.scrub.options import Counts, Wanted
from ktrace.wording import plural


@click.command(name="scrub")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...", type=click.Path())
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(),
    help='The scrubbed log, or a folder for several; "-" for standard output.',
)
@click.option("--in-place", is_flag=True, help="Replace LOG itself, in one step.")
@click.option("--force", is_flag=True, help="Overwrite OUT where it exists.")
@click.option(
    "--payload",
    is_flag=True,
    help="Blank data that was read and written, arguments and environment too.",
)
@click.option("--addresses", is_flag=True, help="Map IP addresses to ranges for documentation too.")
def command(
    logs: tuple[str, ...],
    output: str | None,
    in_place: bool,
    force: bool,
    payload: bool,
    addresses: bool,
) -> None:
    """Remove the TLS session keys that strace wrote into LOG, and change nothing else.

    Key bytes become "X"; version, cipher and everything else stay, so that `ktrace parse` says the
    same of the scrubbed log. OUT is compressed when its name ends in .gz, .zst or .xz. For the name
    of a `strace -ff` family, OUT is a name of the same kind or a folder.

    What cannot be read is refused, never passed on as clean.

    \b
      ktrace scrub strace.log -o clean.log
      ktrace scrub strace.log -o clean.log.zst --payload --addresses
      ktrace scrub strace.log --in-place
    """
    from ktrace.scrub.job import plan, run

    if in_place == (output is not None):
        raise click.UsageError("name an output with -o, or say --in-place")
    traces = plan(logs, output, force)
    with Progress("scrubbing") as progress:
        counts = run(traces, Wanted(payload, addresses), progress)
    tell(counts, payload, addresses)


def tell(counts: Counts, payload: bool, addresses: bool) -> None:
    """Say on stderr what was changed; standard output may be the log."""
    parts = [f"{plural(counts.key_bytes, 'key byte')} of {plural(counts.keys, 'call')}"]
    if counts.fragments:
        parts.append(f"{plural(counts.fragments, 'torn payload')}")
    if counts.dumps:
        parts.append(f"{plural(counts.dumps, 'line')} of hex dumps")
    if payload:
        parts.append(f"{plural(counts.strings, 'string')} of data and arguments")
    if addresses:
        parts.append(f"{plural(counts.addresses, 'place')} with an address")
    text = f"ktrace: blanked {', '.join(parts)} in {plural(counts.lines, 'line')}"
    click.echo(text, err=True)
