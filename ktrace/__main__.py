"""`python -m ktrace`: the command line where no script is installed."""

import sys

from ktrace.cli import main

if __name__ == "__main__":
    sys.exit(main())
