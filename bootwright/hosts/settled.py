"""Waiting until a board has started."""

SETTLED = r"""# A board that still starts will have its daemon, and its audit rules, in a moment.
read -r uptime _ </proc/uptime
looks=0
while [ "${uptime%.*}" -lt 900 ] && [ "$looks" -lt 90 ]; do
    case $(systemctl is-system-running 2>/dev/null) in
    starting | initializing) sleep 1 ;;
    *) break ;;
    esac
    looks=$((looks + 1))
done
"""
"""The shell commands that wait, 90 s at most, until a board has started."""
