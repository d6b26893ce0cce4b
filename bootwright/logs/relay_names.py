"""Names of the log relay on a board that other rooms rely on."""

SOCKET = "/run/bootwright-logs.sock"
SERVICE = "bootwright-logs.service"
