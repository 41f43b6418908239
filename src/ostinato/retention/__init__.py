"""How long things are kept, what must be kept longer, and how somebody is forgotten everywhere.

Rules per intent and data class, a sweeper that can be asked first what it would do, legal holds that win over both, and
the erasure of a subject through every store, with a receipt that the audit log's proof confirms.
"""

from ostinato.retention.settings import Settings

__all__ = ["Settings"]
