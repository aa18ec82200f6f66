"""The one exception tree. Every message says what, which value, and what to do next.

    SluiceError
    ├── UsageError            the caller's to mend: exit code 2, nothing was sent or changed
    │   ├── ConfigError       sluice.toml, a SLUICE_ variable or an option has a bad value
    │   ├── InputError        a file that cannot be read as what it is said to be
    │   ├── NotTrusted        a folder, a file or a module that others may have written
    │   ├── NoWorker          --wait with nobody there to do the work
    │   └── ForeignDatabase   the database is not Sluice's, or from another version of it
    ├── Unavailable           transient: roll back, wait, try again
    │   ├── QueueUnavailable  Redis refuses, hangs or is full
    │   └── StoreUnavailable  the database is locked, full, read-only or gone
    ├── WatermarkCorrupt      terminal for the loader until `store watermark repair`
    ├── LockHeld              another loader is at work
    ├── LockLost              our lease ran out while we worked: the chunk is rolled back
    ├── OtherContract         a batch was sent for another contract or mapping than this worker has
    ├── NewerMessage          a message of a newer Sluice, which waits for a worker of it
    └── MessageError          a message on the queue this version cannot read
        └── ForgedMessage     a message that no producer of ours has made

A record that breaks its contract is none of these: it becomes a dead letter.
"""

from __future__ import annotations


class SluiceError(Exception):
    """Anything Sluice reports in one line; `exit_code` is what its commands end with."""

    exit_code = 1


class UsageError(SluiceError):
    """The caller's to mend; nothing was sent or changed."""

    exit_code = 2


class ConfigError(UsageError):
    """A bad value in sluice.toml, a SLUICE_ variable or an option."""


class InputError(UsageError):
    """A file that cannot be read as what it is said to be."""


class NotTrusted(UsageError):
    """A folder, a file or a module that others may have written."""


class NoWorker(UsageError):
    """Somebody waits for work that nobody is there to do."""


class ForeignDatabase(UsageError):
    """The database belongs to something else, or to another version of Sluice."""


class Unavailable(SluiceError):
    """Transient: roll back, wait, try again."""

    exit_code = 2


class QueueUnavailable(Unavailable):
    """Redis refuses, hangs or is full."""


class StoreUnavailable(Unavailable):
    """The database is locked, full, read-only or gone."""


class WatermarkCorrupt(SluiceError):
    """A stored watermark does not hold; `store watermark repair` restores it."""


class LockHeld(SluiceError):
    """Another loader is at work."""


class LockLost(SluiceError):
    """The loader's lease ran out while it worked."""


class OtherContract(SluiceError):
    """A batch was sent for another contract or mapping than this worker has."""


class NewerMessage(SluiceError):
    """A message of a newer version of Sluice, which a worker of that version takes."""


class MessageError(SluiceError):
    """A message on the queue that this version cannot read."""


class ForgedMessage(MessageError):
    """A message that no producer of ours has made: nothing of it is stored."""
