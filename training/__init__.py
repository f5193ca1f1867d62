"""How the models of this repository are made; nothing here is part of the package."""
