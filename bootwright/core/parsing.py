"""What parsers of foreign text share."""

PARSE_ERRORS = (
    *(ValueError, OverflowError, IndexError, KeyError),
    *(TypeError, AttributeError, RecursionError),
)
"""What reading an answer raises that has another form than it should."""
