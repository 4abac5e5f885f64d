"""Events to timelines: who owns which socket, when it was connected, and what was done to it."""

from ktrace.sequencer.sequencer import Sequencer

__all__ = ["Sequencer"]
