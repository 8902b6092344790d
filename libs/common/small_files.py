"""Reading the files that settings name: small, plain files and nothing that never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

SMALL_BYTES_MAX = 1024 * 1024


def read_small_text(path: Path) -> str:
    """The UTF-8 text of a file. A pipe, a device (`/dev/zero`) or a file larger than a setting
    could be is an OSError, at once: a process must not hang or swell for a mistyped path.

    Raises OSError, UnicodeDecodeError; ValueError for a path with a NUL.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        content = file.read(SMALL_BYTES_MAX + 1)
    if len(content) > SMALL_BYTES_MAX:
        raise OSError(errno.EFBIG, f"it is larger than {SMALL_BYTES_MAX} bytes", str(path))
    return content.decode("utf-8")
