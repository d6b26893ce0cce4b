"""The on-disk format of ext4: the parts that are needed to fill an empty file system.

Everything here is pure, except :mod:`bootwright.rootfs.ext4.filler`, which writes through a
:class:`~bootwright.rootfs.ext4.filler.ImageAccess`. Structures and constants are from the kernel's
documentation, ``Documentation/filesystems/ext4/``; each module names its chapter.
"""
