"""Intents: business purposes with an owner, stakes and policies, and the defaults that stakes bring along.

An intent is a declaration like a policy; compiled, it tells what a request of its kind may do.
"""
