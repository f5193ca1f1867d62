"""Every error KoRAG raises on purpose.

Each one says what happened, the value, the rule and the fix, in Korean first and then in English. They
derive from `KoragError`, so ``except KoragError`` catches them all, and from the built-in error a caller
would expect for the same mistake.
"""


class KoragError(Exception):
    """Base of all KoRAG errors.

    Args:
        korean: The message in Korean.
        english: The same message in English.
    """

    def __init__(self, korean: str, english: str) -> None:
        super().__init__(korean, english)  # both stay in `args`, so the error survives pickling

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class MissingDependencyError(KoragError, ImportError):
    """An optional package is not installed; the message names the ``pip install``."""


class InvalidArgumentError(KoragError, ValueError):
    """An argument has a value outside its rule."""


class InvalidTextError(KoragError, TypeError):
    """A text is not a string, or holds a lone surrogate; the message names its position."""


class FilterError(KoragError, ValueError):
    """A ``where`` filter has an unknown operator or a value of the wrong kind."""


class WorkerError(KoragError, RuntimeError):
    """A process that was encoding ended."""


class CheckpointError(KoragError):
    """Something is wrong with a model checkpoint."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """The path does not exist, or no such model is known."""


class HubUnreachableError(CheckpointError, ConnectionError):
    """The model is on the Hub, not on this machine, and the Hub cannot be reached."""


class UnknownFamilyError(CheckpointError, ValueError):
    """The files do not say whether the model is dense, sparse or late interaction."""


class WrongFamilyError(CheckpointError, TypeError):
    """The model is of another family than the one asked for."""


class UnknownDimError(CheckpointError, ValueError):
    """The model has no such output dimension."""


class MissingHeadsError(CheckpointError):
    """The Matryoshka projection heads are missing or unreadable."""


class MissingBaseError(CheckpointError, FileNotFoundError):
    """The base model of a PEFT adapter cannot be found."""


class IndexStateError(KoragError):
    """A collection on disk is not in a state the request can be served from."""


class ForeignFolderError(IndexStateError):
    """The folder holds something other than a KoRAG collection."""


class FormatVersionError(IndexStateError):
    """The collection was written by a newer KoRAG."""


class FingerprintError(IndexStateError):
    """The collection was built with another encoder."""


class SegmentError(IndexStateError):
    """A segment file is missing, truncated or damaged."""


class CollectionLockedError(IndexStateError, TimeoutError):
    """Another process is writing to the collection."""


class ReadOnlyError(IndexStateError, PermissionError):
    """The collection lies in a folder that cannot be written to."""
