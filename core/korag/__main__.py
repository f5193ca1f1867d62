"""``python -m korag``: the command line, where no ``korag`` is on the path."""

import sys

from korag.cli import main

if __name__ == "__main__":
    sys.exit(main())
