"""The tests every store must pass, as pytest classes to inherit from. Needs ``pip install 'korag[testing]'``."""

from pkgutil import iter_modules

from korag._optional import require

# Before they are imported: otherwise a failed assert of an inherited test would not show its values.
require("pytest", extra="testing").register_assert_rewrite(
    *(f"{__name__}.{item.name}" for item in iter_modules(__path__))
)
