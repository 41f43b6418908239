"""The control plane, ``/api/v1``: organizations, projects, keys, targets, declarations, cache, traces, statistics.

Each endpoint names its permission on the route; a route without one does not start. The caller's key says who acts and
how far they reach; errors are problem documents (RFC 9457). The OpenAPI document is at ``/api/v1/schema/openapi.json``.
"""

from ostinato.web.api.application import build
from ostinato.web.api.plane import ControlPlane

__all__ = ["ControlPlane", "build"]
