"""The late-interaction leg: storage, scanning and search."""
