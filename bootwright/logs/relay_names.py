"""Names of the log relay on a board that several rooms use."""

SOCKET = "/run/bootwright-logs.sock"
"""The socket that containers log to; systemd opens it."""

SERVICE = "bootwright-logs.service"
"""The unit of the log relay."""
