"""Saved strace logs as a source of events."""

from ktrace.sources.strace.trace import Coverage, StraceTrace, open_traces

__all__ = ["Coverage", "StraceTrace", "open_traces"]
