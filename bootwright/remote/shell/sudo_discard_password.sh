#!/bin/sh
# Run by root's shell before the script $1: discards standard input up to and including the mark.
# A password that sudo did not read, for example because a PAM module remembers the test, is before
# the mark; so the script never receives it.
#
# Prints: what the script prints. If there is no mark: status 125, and on the first line of
# standard error that sudo refuses.
# Variables:
#   refuses     the line that says that sudo refuses; a message follows
#   input_mark  the line behind which the script's own input begins

set +a +x
unset line
while IFS= read -r line; do
    if [ "$line" = "$input_mark" ]; then exec sh -c "$1"; fi
done
echo "$refuses" >&2
echo "it read more than the password" >&2
exit 125
