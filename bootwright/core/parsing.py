"""What parsers of foreign text share."""

OTHER_FORM = (
    *(ValueError, OverflowError, IndexError, KeyError),
    *(TypeError, AttributeError, RecursionError),
)
"""What reading an answer raises that has another form than it should."""
