"""`ktrace doctor`: what this host can do, and what to do about the rest."""

import click
import msgspec

from ktrace.doctor import Check, examine

SCHEMA = "ktrace.doctor/1"


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(as_json: bool) -> None:
    """Say whether this host can do kTLS and live capture, and what to do.

    The exit status is 0 whenever it could look, whatever it found.
    """
    found = examine()
    if as_json:
        click.echo(msgspec.json.encode({"schema": SCHEMA, "checks": found}))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: tuple[Check, ...]) -> list[str]:
    lines: list[str] = []
    width = max(len(check.name) for check in found)
    for area in dict.fromkeys(check.area for check in found):
        lines.append(area)
        for check in (one for one in found if one.area == area):
            lines.append(f"  {check.status:<8} {check.name:<{width}}  {check.found}")
            if check.todo:
                lines.append(f"  {'':<8} {'':<{width}}  -> {check.todo}")
    missing = sum(check.status == "missing" for check in found)
    lines.append(f"ktrace doctor: {missing} of {len(found)} missing")
    return lines
