"""`ktrace explain`: the manual page of a finding."""

import difflib

import click

from ktrace.errors import KtraceError
from ktrace.rules import RULES


def complete_code(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the codes that begin with what was typed."""
    return [rule.code for rule in RULES if rule.code.startswith(incomplete.upper())]


@click.command(name="explain")
@click.argument("code", required=False, shell_complete=complete_code)
def command(code: str | None) -> None:
    """Show what a finding means, why it is bad and how to fix it; without CODE, list the codes.

    \b
      ktrace explain KT101
      ktrace explain ulp-before-established
    """
    click.echo(listing() if code is None else manual(code), nl=False)


def listing() -> str:
    """Return a line a code, with the worst severity that it can have."""
    width = max(len(rule.name) for rule in RULES)
    return "".join(f"{rule.code}  {rule.name:<{width}}  {rule.severity}\n" for rule in RULES)


def manual(word: str) -> str:
    """Return the manual page of a code, or of a finding's name."""
    pages = {key: rule for rule in RULES for key in (rule.code, rule.name.upper())}
    rule = pages.get(word.upper())
    if rule is None:
        near = difflib.get_close_matches(word.upper(), pages, n=1)
        hint = f"the nearest is {pages[near[0]].code}; " if near else ""
        raise KtraceError(
            "no-such-finding",
            f"no finding is called {word}",
            f"{hint}`ktrace explain` lists them all",
        )
    return rule.manual()
