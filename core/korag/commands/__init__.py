"""The subcommands of ``korag``, a file each; `korag.cli.COMMANDS` lists them.

A command module has ``add_arguments(subparsers)``, which adds its parser, and ``run(options)``, which runs it; an
exit code other than 0 is a `KoragError`. Its parser may set ``interrupted``, what to say after Ctrl-C in Korean and
English.
"""
