"""The subcommands of ``korag``. To add one, write a file here and add it to ``COMMANDS`` in `korag.cli`.

A command has ``add_arguments(subparsers)``, which adds its parser and sets ``run`` to its function of the parsed
options. Mistakes of the user's are raised as `KoragError`.
"""
