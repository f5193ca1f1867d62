"""The logger of the package: what it logs has particles that agree with the word before them, like its errors.

All modules log by this one, so that ``logging.getLogger("korag")`` is the one place to listen, and to set a level.
"""

from __future__ import annotations

import logging

from korag.particles import agree


def _agree(record: logging.LogRecord) -> bool:
    """Puts a record's message together if it has particles in both forms (``을(를)``), and chooses them."""
    if isinstance(record.msg, str) and "(" in record.msg:
        text = record.getMessage()
        if (chosen := agree(text)) != text:
            record.msg, record.args = chosen, None
    return True


logger = logging.getLogger("korag")
if _agree not in logger.filters:
    logger.addFilter(_agree)
