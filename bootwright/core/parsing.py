"""What the parsers of text from boards and tools share."""

PARSE_ERRORS = (
    *(ValueError, OverflowError, IndexError, KeyError),
    *(TypeError, AttributeError, RecursionError),
)
"""The exceptions that parsing code raises when a text does not have the expected form."""
