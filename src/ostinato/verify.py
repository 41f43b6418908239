"""Checks an audit bundle offline: a module of its own that imports nothing of the server."""
