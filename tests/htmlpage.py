"""Read a rendered page the way a browser would, as far as tests need it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

_VOID = frozenset(("meta", "input", "br", "link", "img", "hr"))
_BLOCKS = frozenset(
    {"caption", "dd", "div", "dt", "footer", "h1", "h2", "h3", "header", "legend", "li"}
    | {"nav", "p", "section", "summary", "title", "tr"}
)


class Page(HTMLParser):
    """Elements, inline scripts and styles, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.data: Any = None
        self.words: list[str] = []
        self._open: list[str] = []
        self._kind = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if tag not in _VOID:
            self._open.append(tag)
        if tag in self.inline:
            self._kind = values.get("type", "")
            if self._kind != "application/json":
                self.inline[tag].append("")
        if tag in _BLOCKS:
            self.words.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in self.inline:
            if self._kind == "application/json":
                self.data = json.loads(data)
            else:
                self.inline[inside][-1] += data
        else:
            self.words.append(data)

    def text(self) -> str:
        """Return what can be read without a script, a block a line."""
        lines = "".join(self.words).split("\n")
        return "\n".join(filter(None, (re.sub(r"[ \t]+", " ", line).strip() for line in lines)))

    def attributes(self, name: str) -> list[str]:
        """Return the values of an attribute, of every element that has it."""
        return [values[name] for _, values in self.elements if name in values]

    def policy(self) -> dict[str, list[str]]:
        """Return the Content-Security-Policy by directive."""
        (content,) = (
            v["content"]
            for _, v in self.elements
            if v.get("http-equiv") == "Content-Security-Policy"
        )
        parts = (part.split() for part in content.split(";"))
        return {part[0]: part[1:] for part in parts if part}


def csp_hash(text: str) -> str:
    """Return the source expression that allows an inline element of this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
