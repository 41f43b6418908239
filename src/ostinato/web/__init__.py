"""Everything that speaks HTTP to callers: the server, the data plane's proxy, the control plane's API.

``server`` runs uvicorn with our protocol short cut; ``proxy`` is the raw ASGI application behind ``/v1``; ``api`` is
the control plane behind ``/api/v1``. The three do not know one another: ``app`` joins them. Only this room knows the
web framework, and only here do errors become HTTP.
"""
