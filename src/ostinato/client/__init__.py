"""What callers install: prompts rendered and models called from Python, sync and async.

Needs ``templates``, ``wire`` and ``core`` only; never the server's rooms.
"""
