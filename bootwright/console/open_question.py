"""Which question for a passphrase is open at a console: one value for all that matters. Pure."""

from enum import Enum


class OpenQuestion(Enum):
    """The question that reads what is typed now, as far as the console's output shows.

    "Ours" is a question for the passphrase of the volume that is to be unlocked, and that
    nobody has answered yet. systemd asks on a terminal that shows an asterisk for each
    character, until a TAB makes it print ``(no echo) `` and show nothing any more.
    """

    NOTHING_PRINTED = "nothing printed"
    """Nothing was printed since we connected. A question printed before cannot be seen."""
    NONE = "none"
    """The boot prints, and asks nothing."""
    BLANK_LINE = "blank line"
    """As ``NONE``, and the current line is only blanks: a terminal has echoed a TAB."""
    HIDDEN_UNSEEN = "hidden, unseen"
    """We saw no question, but ``(no echo) `` answered our TAB: a question for some disk waits."""
    NOT_OURS = "not ours"
    """A question for another disk, for a new passphrase, or not yet printed to the disk's name; for
    another secret, such as a token's PIN; or the beginning of a line, which may be a question."""
    CLOSED = "closed"
    """Ours was answered, or the boot has ended, or a restart is awaited. Nothing is to be typed."""

    INCOMPLETE = "incomplete"
    """Ours, as far as it is printed; the rest of its text may make it another question."""
    VISIBLE = "visible"
    """Ours; systemd would show an asterisk for each character typed."""
    VISIBLE_HINT_CUT = "visible, hint cut"
    """As ``VISIBLE``, but other output cut its ``(press TAB for no echo) `` in two."""
    HIDDEN = "hidden"
    """Ours; ``(no echo) `` answered our TAB: nothing that is typed is shown."""
    HIDDEN_LINE_OPEN = "hidden, line open"
    """As ``HIDDEN``, and then the beginning of a line was printed. Who printed it (a shell, a
    boot loader) may read what is typed."""
    HIDDEN_BY_OTHERS = "hidden by others"
    """Ours; ``(no echo) `` was printed without a TAB from us. Somebody may have typed more
    than the TAB."""
    HIDDEN_BY_OTHERS_OUTPUT_AFTER = "hidden by others, output after"
    """As ``HIDDEN_BY_OTHERS``, and something was printed after it: it may have been answered."""
    BEFORE_LOSS = "before the loss"
    """Ours, which was printed before the connection was lost; nothing was printed since. The board
    may have restarted meanwhile, and its boot loader may count down, which any key stops."""
    BEFORE_LOSS_OUTPUT_AFTER = "before the loss, output after"
    """As ``BEFORE_LOSS``, and something was printed since: it may be a boot loader that prints."""
    INITRAMFS = "initramfs"
    """Ours; Debian's initial RAM disk asks. It shows nothing, and takes a TAB as a character."""
    INITRAMFS_OUTPUT_AFTER = "initramfs, output after"
    """As ``INITRAMFS``, and whole lines were printed after it."""
    INITRAMFS_LINE_OPEN = "initramfs, line open"
    """As ``INITRAMFS``, and then the beginning of a line was printed, perhaps by a shell."""

    @property
    def is_ours(self) -> bool:
        """Whether the volume's passphrase is asked for, and was not given yet."""
        return self not in _NOT_OURS


_NOT_OURS = frozenset(
    {
        OpenQuestion.NOTHING_PRINTED,
        OpenQuestion.NONE,
        OpenQuestion.BLANK_LINE,
        OpenQuestion.HIDDEN_UNSEEN,
        OpenQuestion.NOT_OURS,
        OpenQuestion.CLOSED,
    }
)
