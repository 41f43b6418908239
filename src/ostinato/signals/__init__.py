"""What is known of an answer's quality, by request id: feedback of end users, outcomes, scores, verdicts of reviewers.

Signals are only ever added. Whoever sends one may know no more than the request's id.
"""

__all__ = []
