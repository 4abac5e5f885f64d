"""Nothing that was traced can run, load or hide: policy, escaping, embedded data."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.findings import Report
from ktrace.reporters import html
from ktrace.resources import templates_dir
from tests import htmlsamples as samples
from tests.htmlpage import Page, csp_hash

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "a\x00b\x1b[2Jc\x07",
    "]]>&lt;&amp;",
    "\u2028\u2029",
    "javascript:alert(1)",
    "\ud800",
    "x" * 3000,
]


def poisoned(text: str) -> Report:
    """Put a text wherever a trace could put one."""
    report = samples.mixed()
    connections = tuple(
        msgspec.structs.replace(
            c,
            comm=text,
            peer=text,
            local=text,
            timeline=tuple(msgspec.structs.replace(r, text=f"{r.text}{text}") for r in c.timeline),
        )
        for c in report.connections
    )
    findings = tuple(
        msgspec.structs.replace(
            f,
            message=text,
            who=text,
            why=text,
            help=text,
            outcome=text,
            notes=(text,),
            stack=(text,),
            evidence=tuple(msgspec.structs.replace(e, source=text, text=text) for e in f.evidence),
            rows=tuple(msgspec.structs.replace(r, text=text, result=text) for r in f.rows),
        )
        for f in report.findings
    )
    peers = tuple(msgspec.structs.replace(p, peer=text) for p in report.peers)
    trace = msgspec.structs.replace(report.trace, sources=(text,), warnings=(text,))
    return msgspec.structs.replace(
        report, connections=connections, findings=findings, peers=peers, trace=trace
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(html.render(samples.mixed()))


def shape(page: Page) -> list[str]:
    """Return the elements of a page without what they say."""
    return [tag for tag, _ in page.elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_change_no_element(text: str) -> None:
    calm, poison = Page(html.render(poisoned("name"))), Page(html.render(poisoned(text)))
    assert shape(poison) == shape(calm)
    assert poison.inline["script"] == calm.inline["script"]
    handlers = [name for _, values in poison.elements for name in values if name.startswith("on")]
    assert handlers == []


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_no_name_gets_out_of_its_place(text: str) -> None:
    calm, poison = Page(html.render(poisoned("n"))), Page(html.render(poisoned(text)))
    # A peer with a colon, or a backtick in prose, may be written in another way; nothing may run.
    assert poison.inline["script"] == calm.inline["script"]
    assert poison.attributes("src") == []
    assert set(shape(poison)) <= set(shape(calm)) | {"code"}


def test_control_characters_are_written_out() -> None:
    rendered = html.render(poisoned("a\x1b[2J\u202eb"))
    assert "\x1b" not in rendered
    assert "\u202e" not in rendered
    assert "a\\x1b[2J\\u202eb" in Page(rendered).text()


def test_the_policy_allows_exactly_what_is_in_the_page(page: Page) -> None:
    policy = page.policy()
    assert policy["default-src"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    assert policy["form-action"] == ["'none'"]
    assert policy["script-src"] == [csp_hash(text) for text in page.inline["script"]]
    assert policy["style-src"] == [csp_hash(text) for text in page.inline["style"]]
    assert len(page.inline["script"]) == 1


def test_the_policy_comes_before_anything_it_governs(page: Page) -> None:
    tags = [tag if values.get("http-equiv") is None else "policy" for tag, values in page.elements]
    assert tags.index("policy") < min(tags.index("style"), tags.index("script"))


def test_nothing_is_loaded_and_no_style_is_inline(page: Page) -> None:
    assert page.attributes("src") == []
    assert page.attributes("style") == []
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert not {"link", "iframe", "object", "embed", "img", "base"} & set(shape(page))


def test_the_only_addresses_are_names_of_namespaces(page: Page) -> None:
    addresses = set(re.findall(r"[a-z]+://[^\s\"'`)]+", page.html))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_ids_are_unique(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))


def test_every_reference_has_a_target(page: Page) -> None:
    ids = set(page.attributes("id"))
    for name in ("aria-labelledby", "aria-describedby", "for"):
        for value in page.attributes(name):
            assert set(value.split()) <= ids, value
    for _, values in page.elements:
        if "href" in values and values["href"] != "#":
            assert values["href"][1:] in ids, values["href"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_embedded_data_survives_and_cannot_end_its_element(value: Any) -> None:
    text = html.embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_no_script_ends_its_own_element() -> None:
    for path in sorted(Path(templates_dir()).rglob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert "</script" not in text.lower(), path
        assert "<!--" not in text, path


def test_the_scripts_never_build_markup_from_text() -> None:
    for path in sorted(Path(templates_dir(), "js").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, (path.name, word)


def test_every_vendored_library_has_its_licence_and_version() -> None:
    vendor = Path(templates_dir(), "vendor")
    bundle = (vendor / "vendor.js").read_text(encoding="utf-8")
    licences = (vendor / "LICENSES.md").read_text(encoding="utf-8")
    notices = bundle[: bundle.index("*/")]
    named = re.findall(r"^(?:/\*! |\s+)(\S+) (\S+), (\S+), Copyright", notices, re.MULTILINE)
    assert {name for name, _, _ in named} >= {"@tanstack/table-core", "d3-array"}
    for name, version, licence in named:
        assert f"## {name} {version} ({licence})" in licences
