"""What can go wrong on the way to another server. Messages name the host, never the path, headers or body."""

from ostinato.core.errors import Invalid, UpstreamFailed


class OutboundError(UpstreamFailed):
    """Base of every failed exchange with another server."""

    default_code = "outbound_failed"


class TimedOut(OutboundError):
    """Nothing came in the time given: while connecting, before the first byte, or between two bytes."""

    default_code = "outbound_timeout"


class ConnectionFailed(OutboundError):
    """The name was not found, the connection was refused, reset or closed before the answer was complete."""

    default_code = "outbound_connection"

    begun = False
    """Whether a part of the answer had arrived already."""


class TooLarge(OutboundError):
    """The answer exceeds the bound; what had arrived is thrown away."""

    default_code = "outbound_too_large"


class BadResponse(OutboundError):
    """The other side does not speak HTTP/1.1 as it should."""

    default_code = "outbound_bad_response"


class Refused(Invalid):
    """The guard refuses this address: nothing was sent."""

    default_code = "address_refused"
