"""Templates: text with places for data, compiled once and rendered in microseconds.

Logic-less by default; Jinja2 by choice, through a list of what is allowed. Pure: no database, no clock, no files.
"""
