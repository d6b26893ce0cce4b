"""The on-disk format of ext4, as far as filling an empty file system needs it.

Everything here is pure but :mod:`bootwright.rootfs.ext4.filler`, which writes through a
:class:`~bootwright.rootfs.ext4.filler.Disk`. Structures and constants are those of the kernel's
documentation, ``Documentation/filesystems/ext4/``; each module names its chapter.
"""
