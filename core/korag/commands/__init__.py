"""The subcommands of ``korag``, a file each. To add one, write such a file and add it to `COMMANDS`.

A command module has ``add_arguments(subparsers)``, which adds its parser, and ``run(options)``, which runs it; an
exit code other than 0 is a `KoragError`.
"""

from types import ModuleType

from korag.commands import evaluate, merge, models, train

COMMANDS: tuple[ModuleType, ...] = (models, train, merge, evaluate)
"""In the order ``korag --help`` lists them."""
