"""The store behind a Qdrant server; needs ``pip install 'korag[qdrant]'``."""

from korag._optional import require

require("qdrant_client", extra="qdrant")
