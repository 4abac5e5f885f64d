"""The options of `ktrace check`: the keys of the policy, and the files to write."""

import functools
from collections.abc import Callable
from typing import Any

import click
import msgspec

from ktrace.check.policy import Limits
from ktrace.errors import KtraceError

FILES = {
    "junit": "Write JUnit XML, a test case a rule.",
    "sarif": "Write SARIF 2.1.0, for code scanning.",
    "markdown": "Write Markdown, for a pull request.",
    "json": "Write the report with the conclusion; it can be a baseline later.",
    "html": "Write a page that compares candidate and baseline.",
    "update_baseline": "Write a small baseline of this run, to keep in a repository.",
}
SHARE = click.FloatRange(0, 1)


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --policy and an option for each of its keys; they arrive as `policy_path`, `limits`."""

    @functools.wraps(function)
    def wrapper(**values: Any) -> Any:
        said = {key: values.pop(key) for key in Limits.__struct_fields__}
        said["require"] = _split(said["require"])
        said["forbid"] = _split(said["forbid"])
        return function(limits=_limits(said), **values)

    for option in reversed(_policy_options()):
        wrapper = option(wrapper)
    return wrapper


def files_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each file; they arrive as `files`, by name."""

    @functools.wraps(function)
    def wrapper(**values: Any) -> Any:
        paths = {name: values.pop(name) for name in FILES}
        return function(files={name: path for name, path in paths.items() if path}, **values)

    for name, summary in reversed(FILES.items()):
        flag = f"--{name.replace('_', '-')}"
        option = click.option(
            flag, name, type=click.Path(dir_okay=False), metavar="FILE", help=summary
        )
        wrapper = option(wrapper)
    return wrapper


def _policy_options() -> list[Callable[..., Any]]:
    return [
        click.option(
            "--policy",
            "policy_path",
            type=click.Path(),
            metavar="FILE",
            help="The policy; without it, ktrace.toml of this folder if there is one.",
        ),
        click.option("--max-raced", type=click.IntRange(0), metavar="N", help="Default: 0."),
        click.option("--max-unordered", type=click.IntRange(0), metavar="N", help="Default: 0."),
        click.option("--max-fallback-rate", type=SHARE, metavar="X", help="0 to 1."),
        click.option(
            "--min-attempted", type=click.IntRange(0), metavar="N", help="kTLS connections to see."
        ),
        click.option(
            "--require", multiple=True, metavar="tx|rx", help="Keys that each connection must have."
        ),
        click.option(
            "--min-attempt-rate", type=SHARE, metavar="X", help="Of client connections; 0 to 1."
        ),
        click.option(
            "--alpha",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            metavar="X",
            help="Level of the tests against the baseline.  [default: 0.01]",
        ),
        click.option("--forbid", multiple=True, metavar="CODE", help="A finding that fails."),
    ]


def _split(values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the values of an option that may be repeated or hold commas; None where not given."""
    parts = tuple(part.strip() for value in values for part in value.split(","))
    return tuple(part for part in parts if part) or None


def _limits(said: dict[str, Any]) -> Limits:
    try:
        return msgspec.convert({k: v for k, v in said.items() if v is not None}, Limits)
    except msgspec.ValidationError as error:
        message = f"option {str(error).replace(' - at `$.', ': --').rstrip('`')}"
        raise KtraceError("policy-option", message, "`ktrace check --help` lists them") from None
