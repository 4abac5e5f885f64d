"""The HTML report: one self-contained file that loads nothing and runs only its own script.

Nothing that was traced can become markup or script: templates escape everything, data is embedded
as JSON without `<`, `>` and `&`, and the Content-Security-Policy names the hashes of the one script
and the two style sheets.
"""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from ktrace import wording
from ktrace.findings import Report
from ktrace.reporters.htmlreport import words
from ktrace.reporters.htmlreport.checked import Checked
from ktrace.reporters.htmlreport.compare import compare_page
from ktrace.reporters.htmlreport.groups import FULL
from ktrace.reporters.htmlreport.race import race_page
from ktrace.reporters.htmlreport.scale import Scale
from ktrace.reporters.layout import READABLE, Paper
from ktrace.reporters.text_finding import write_finding
from ktrace.resources import templates_dir

_STYLES = ("tokens", "page", "strip", "connections", "compare", "print")
_SCRIPTS = ("vendor/vendor", "js/data", "js/card", "js/strip", "js/timeline", "js/table", "js/page")
_COMPARE_SCRIPTS = ("js/data", "js/page")  # its strips stand still


def render(report: Report, most: int = FULL) -> str:
    """Return the race report as one HTML page; at most `most` connections are held in full."""
    page = race_page(report, _finding_texts(report), most)
    grid = _grid_style(page.strip.scale) if page.strip else ""
    return _page("race.html", _SCRIPTS, grid, {"page": page}, page.data)


def render_compare(result: Checked, baseline: Report | None, candidate: Report) -> str:
    """Return the page of a check: its rules, and both runs side by side.

    `baseline` is None where there is none, or where only its counts are known.
    """
    page = compare_page(result, baseline, candidate)
    texts = {
        f.code: text for f, text in zip(candidate.findings, _finding_texts(candidate), strict=True)
    }
    shown = [texts[change.code] for change in page.changes if change.found]
    data: dict[str, object] = {"connections": [], "strings": [], "texts": shown}
    grid = _grid_style(page.scale)
    return _page("compare.html", _COMPARE_SCRIPTS, grid, {"page": page}, data)


def _finding_texts(report: Report) -> list[str]:
    """Return each finding as the text report prints it, to be copied."""
    texts = []
    for finding in report.findings:
        paper = Paper(width=READABLE)
        write_finding(paper, finding)
        texts.append(str(paper))
    return texts


def _page(
    template: str,
    scripts: tuple[str, ...],
    grid: str,
    context: dict[str, object],
    data: dict[str, object],
) -> str:
    environment = _environment()
    css = "\n".join(_asset(f"css/{name}.css") for name in _STYLES)
    script = "\n".join(_asset(f"{name}.js") for name in scripts)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(css)} {_hash(grid)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        policy=policy,
        css=Markup(css),
        grid=Markup(grid),
        script=Markup(script),
        data=Markup(embedded_json(data)),
        words=words,
        **context,
    )


def embedded_json(data: object) -> str:
    """Encode data to stand in a script element: no `<`, `>`, `&`, no line separator."""
    text = msgspec.json.encode(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline element of this text."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    for function in (words.count, words.signed, words.share, words.interval, wording.plural):
        environment.filters[function.__name__] = function
    return environment


def _finalize(value: Any) -> Any:
    """Make every text that a template prints safe to read, before it is escaped."""
    return words.clean(value) if type(value) is str else value


@lru_cache(maxsize=32)
def _asset(name: str) -> str:
    return Path(templates_dir(), name).read_text(encoding="utf-8")


def _grid_style(scale: Scale) -> str:
    """Return the grid lines behind the strip as backgrounds: one line at each tick."""
    ticks = scale.ticks()[1:]
    line = "linear-gradient(var(--line),var(--line))"
    images = ",".join([line] * len(ticks)) or "none"
    places = ",".join(f"{tick.at}% 0" for tick in ticks) or "0 0"
    return f":root{{--grid-lines:{images};--grid-places:{places}}}"
