"""Approvals: a change that others must agree to, bound to the digest of exactly what they saw.

The author is not an approver; an approval expires, and is void when what it is about has changed.
"""
