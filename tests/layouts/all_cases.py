"""All cases. A module of cases offers `CASES`, `REFUSALS` or both; give it a line of its own here."""

from types import ModuleType

from layouts import (
    bge_m3,
    known,
    mistakes,
    prompts,
    queries,
    rerankers,
    routers,
)
from layouts.case import LayoutCase, RefusalCase

MODULES: list[ModuleType] = [
    known,
    bge_m3,
    mistakes,
    prompts,
    queries,
    rerankers,
    routers,
]

CASES: list[LayoutCase] = [case for module in MODULES for case in getattr(module, "CASES", ())]
REFUSALS: list[RefusalCase] = [case for module in MODULES for case in getattr(module, "REFUSALS", ())]
