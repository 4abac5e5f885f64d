"""The whole report as JSON, schema `ktrace.report/1` (ktrace/schema/report-1.json).

One connection, finding or peer stands on a line, so that grep, diff and a reader find their way.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ktrace.findings import Report
from ktrace.packed import to_json


def render(report: Report) -> bytes:
    """Return the report as UTF-8 JSON."""
    return b"".join(chunks(report))


def chunks(report: Report) -> Iterator[bytes]:
    """Yield the report line by line; fields that a subclass adds come last."""
    mark = b"{\n"
    for name in report.__struct_fields__:
        yield mark + b" " + encode(name) + b": "
        value = getattr(report, name)
        if isinstance(value, tuple) and value:
            yield from _items(value)
        else:
            yield encode(value)
        mark = b",\n"
    yield b"\n}\n"


def _items(items: tuple[Any, ...]) -> Iterator[bytes]:
    mark = b"[\n  "
    for item in items:
        yield mark + encode(item)
        mark = b",\n  "
    yield b"\n ]"


def encode(value: Any) -> bytes:
    """Encode a value; bytes that were no UTF-8 (in a file name) become U+FFFD."""
    try:
        return msgspec.json.encode(value, enc_hook=to_json)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value, enc_hook=tuple)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
