"""From a request's id to everything behind its answer: prompt, release, approvals, entry, cost and audit proof."""
