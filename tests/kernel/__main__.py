"""Run a script, or open a shell, in a guest: `python -m tests.kernel --help`."""

import argparse
import sys
from pathlib import Path

from tests.kernel import boot, image
from tests.kernel.guests import GUESTS
from tests.kernel.steps import NotBuilt

BUILD = boot.ROOT / "build" / "kernel"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel", description=__doc__)
    parser.add_argument("do", choices=("build", "run", "shell"))
    parser.add_argument("guest", choices=list(GUESTS))
    parser.add_argument("script", nargs="?", type=Path, help="run: a shell script")
    parser.add_argument("files", nargs="*", type=Path, help="more files (or folders) for /job")
    parser.add_argument("--results", type=Path, help="where /results goes (build/kernel/run-GUEST)")
    parser.add_argument("--limit", type=float, default=600, help="seconds (600)")
    chosen = parser.parse_args()
    guest = GUESTS[chosen.guest]
    files = {path.name: path for path in chosen.files}
    folder = chosen.results or BUILD / f"{chosen.do}-{guest.name}"
    try:
        if chosen.do == "build":
            print(image.built(guest).disk.parent)
        elif chosen.do == "shell":
            files |= {chosen.script.name: chosen.script} if chosen.script else {}
            boot.shell(guest, files, folder)
        elif chosen.script is None:
            parser.error("run needs a script")
        else:
            ran = boot.run(guest, chosen.script.read_text(), files, folder, chosen.limit)
            print(ran.output, end="")
            print(f"{guest.name}: {ran.seconds:.0f} s; results in {folder}", file=sys.stderr)
            return ran.status
    except (NotBuilt, boot.Failed) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
