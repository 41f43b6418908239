"""Releases: a label moves to another version with evidence: propose, gate, approve, canary, promote or roll back."""
