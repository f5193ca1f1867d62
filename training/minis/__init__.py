"""The recipe of the three models that ship with KoRAG: `python -m training.minis.run`."""
