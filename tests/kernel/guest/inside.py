"""Run ktrace with one way into the kernel's functions: `inside.py fentry|kprobe WORDS ...`."""

import sys

from ktrace.cli import main
from ktrace.sources.live import libbpf
from ktrace.sources.live.hooks import ways_in

way = sys.argv.pop(1)
if way not in ways_in():
    sys.exit(f"this kernel has no {way}")
vars(libbpf)["ways_in"] = lambda: (way,)
sys.exit(main())
