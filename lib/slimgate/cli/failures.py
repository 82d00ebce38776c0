"""What ends a command beside its own messages: files that cannot be opened, and errors that nobody expected."""

from __future__ import annotations

import errno
import os
import traceback

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_MAY_NOT = (errno.EACCES, errno.EPERM)


def describe_os_error(error: OSError) -> str | None:
    """Return the message about a path that the system refused; None for anything but a path.

    An error does not say whether it was met in reading or in writing. A file that is there and may not be read was
    to be read; whatever else may not be touched was to be written.
    """
    path = error.filename
    what = f"{path or 'output'}: {os.strerror(error.errno or 0)}"
    if error.errno in _MAY_NOT and path and os.path.exists(path) and not os.access(path, os.R_OK):  # noqa: PTH110
        return _explain(
            what, "a file that this user may read", "correct its permissions, or name another file"
        )
    if error.errno in (*_NO_ROOM, *_MAY_NOT, errno.EROFS):
        return _explain(
            what,
            "a writable place with enough room",
            "free space, or name another directory (--out, -o, SLIMGATE_CACHE)",
        )
    if not path:
        return None
    if error.errno == errno.EEXIST:
        return _explain(what, "a folder, or a name that is not taken", "name another place (--out, -o)")
    if error.errno == errno.ENOTDIR:
        return _explain(what, "a path whose every part but the last is a folder", "correct the path")
    if error.errno == errno.EISDIR:
        return _explain(what, "the name of a file", "name a file in that folder")
    if error.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP):
        return _explain(what, "a path that can be opened", "correct the path")
    return None


def describe_defect(error: Exception) -> str:
    """Return the message about an error that nobody expected, with all that is needed to find it."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return _explain(
        f"{trace}\nslimgate: an error of slimgate itself: {type(error).__name__}: {error}",
        "a verdict, or one message about what is wrong with the input; nothing was judged",
        "report it with the lines above and the command",
    )


def _explain(what: str, expected: str, action: str) -> str:
    return f"{what}\n  expected: {expected}\n  what to do: {action}"
