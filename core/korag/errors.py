"""The errors KoRAG raises on purpose.

Each message gives the value, the rule and the fix, in Korean and then in English. An error is also the built-in error
one would expect for the same mistake, so both ``except KoragError`` and ``except ValueError`` work::

    KoragError
    ├── InvalidArgumentError (ValueError)
    │   └── PairsError
    ├── InvalidTextError (TypeError)
    ├── FilterError (ValueError)
    ├── DatasetError (ValueError)
    ├── UnreadableFileError (ValueError)
    ├── MissingDependencyError (ImportError)
    ├── WorkerError (RuntimeError)
    ├── ServerError (ConnectionError)
    ├── CheckpointError
    │   ├── CheckpointNotFoundError (FileNotFoundError)
    │   ├── HubUnreachableError (ConnectionError)
    │   ├── UnknownFamilyError (ValueError)
    │   ├── WrongFamilyError (TypeError)
    │   ├── UnknownDimError (ValueError)
    │   ├── MissingHeadsError
    │   ├── MissingBaseError (FileNotFoundError)
    │   └── ServedModelError (ValueError)
    └── IndexStateError
        ├── ForeignFolderError
        ├── FormatVersionError
        ├── FingerprintError
        ├── SegmentError
        ├── CollectionLockedError (TimeoutError)
        ├── ReadOnlyError (PermissionError)
        └── StorageError (OSError)
            ├── StorageFullError
            └── AccessError (PermissionError)
"""

from korag.particles import agree


class KoragError(Exception):
    """Base of all KoRAG errors.

    Args:
        korean: The message in Korean; of particles in both forms (``을(를)``), the one that agrees is shown.
        english: The same message in English.

    Attributes:
        ids: Those of the documents that an `add` could not all store, generated ones too: the same call with
            ``ids=error.ids`` completes it, and stores nothing twice. Empty for any other error.
    """

    ids: tuple[str, ...] = ()

    def __init__(self, korean: str, english: str) -> None:
        super().__init__(agree(korean), english)  # both stay in `args`, so the error survives pickling

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


# -- arguments and data ---------------------------------------------------------------------------------------


class InvalidArgumentError(KoragError, ValueError):
    """An argument breaks its rule."""


class InvalidTextError(KoragError, TypeError):
    """A text is not a string or contains a lone surrogate; the message gives its position."""


class FilterError(KoragError, ValueError):
    """A ``where`` filter has an unknown operator or an operand of the wrong kind."""


class PairsError(InvalidArgumentError):
    """Training pairs are invalid; nothing was trained or written.

    Args:
        korean: The message in Korean.
        english: The same message in English.
        problems: All problems, as (line, Korean, English).
    """

    def __init__(self, korean: str, english: str, problems: tuple[tuple[int | None, str, str], ...] = ()) -> None:
        super().__init__(korean, english)
        found = tuple((line, agree(one), other) for line, one, other in problems)
        self.args = (agree(korean), english, found)

    @property
    def problems(self) -> tuple[tuple[int | None, str, str], ...]:
        """All problems, as (line, Korean, English)."""
        found: tuple[tuple[int | None, str, str], ...] = self.args[2]
        return found

    def __str__(self) -> str:
        return "\n".join(self.args[:2])


class DatasetError(KoragError, ValueError):
    """An evaluation data set is incomplete, contradicts itself or cannot be read."""


# -- environment ----------------------------------------------------------------------------------------------


class UnreadableFileError(KoragError, ValueError):
    """A file cannot be read as a document: damaged, protected, or of another format."""


class MissingDependencyError(KoragError, ImportError):
    """An optional package is not installed; the message has the ``pip install`` command."""


class WorkerError(KoragError, RuntimeError):
    """A worker process ended while encoding."""


class ServerError(KoragError, ConnectionError):
    """A server gives no answer, refuses a request, or answers with something that its API does not have."""


# -- models ---------------------------------------------------------------------------------------------------


class CheckpointError(KoragError):
    """A model checkpoint cannot be used."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """The path does not exist, or the model name is unknown."""


class HubUnreachableError(CheckpointError, ConnectionError):
    """The model is not cached on this machine, and the Hub cannot be reached."""


class UnknownFamilyError(CheckpointError, ValueError):
    """The files do not show whether the model is dense, sparse or late interaction."""


class WrongFamilyError(CheckpointError, TypeError):
    """The model's family is not the requested one."""


class UnknownDimError(CheckpointError, ValueError):
    """The model does not offer this output dimension."""


class MissingHeadsError(CheckpointError):
    """The Matryoshka projection heads are missing or unreadable."""


class MissingBaseError(CheckpointError, FileNotFoundError):
    """The base model of a PEFT adapter cannot be found."""


class ServedModelError(CheckpointError, ValueError):
    """A server's vectors or scores are not those of the model it should serve."""


# -- collections ----------------------------------------------------------------------------------------------


class IndexStateError(KoragError):
    """The state of a collection, or of files on disk, does not allow the request."""


class ForeignFolderError(IndexStateError):
    """The folder contains something other than a KoRAG collection."""


class FormatVersionError(IndexStateError):
    """The collection was written by a newer version of KoRAG."""


class FingerprintError(IndexStateError):
    """The collection was built with another encoder or tokenizer."""


class SegmentError(IndexStateError):
    """A segment file is missing, truncated or corrupt."""


class CollectionLockedError(IndexStateError, TimeoutError):
    """Another process is writing to the collection."""


class ReadOnlyError(IndexStateError, PermissionError):
    """A file or folder is not writable."""


class StorageError(IndexStateError, OSError):
    """The operating system could not read or write a file; the message names the file and the cause."""


class StorageFullError(StorageError):
    """There is no space left, a quota is used up, or a file would become too large."""


class AccessError(StorageError, PermissionError):
    """A file or folder may not be read."""
