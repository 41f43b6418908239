"""What is told of a collector that is away: one line when it begins, one when it is over, with counts."""

import logging
import threading

_LOG = logging.getLogger(__name__)
_THEIRS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)
"""Loggers of the exporters, which tell of every try."""
_MOST = 300
"""Characters of a reason."""


class Heard(logging.Filter):
    """Keeps what the exporters say in one thread out of the log; the last of it is the reason that we tell.

    Others in this process may use the same exporters: what they hear of them is theirs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread: int | None = None
        self.said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self.thread:
            return True
        self.said = record.getMessage()[:_MOST]
        return False

    def begin(self) -> None:
        """From now on hear what is said in this thread."""
        self.thread = threading.get_ident()
        for name in _THEIRS:
            logging.getLogger(name).addFilter(self)

    def end(self) -> None:
        """Hear no more."""
        for name in _THEIRS:
            logging.getLogger(name).removeFilter(self)


class Outage:
    """How it stands with one kind of what is sent."""

    def __init__(self, what: str) -> None:
        """``what``: as a line of the log names it, such as ``spans``."""
        self._what = what
        self._tries = 0
        self._lost = 0

    def failed(self, why: str, lost: int) -> None:
        """A try has failed, and cost so many."""
        if not self._tries:
            _LOG.warning("The collector does not take %s, what is lost is counted: %s", self._what, why)
        self._tries += 1
        self._lost += lost

    def worked(self) -> None:
        """A try has not."""
        if self._tries:
            _LOG.warning(
                "The collector takes %s again; tries that failed: %d, lost with them: %d.",
                self._what,
                self._tries,
                self._lost,
            )
        self._tries = self._lost = 0
