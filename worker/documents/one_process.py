"""Forbids a process to start another one, by a filter of its system calls. It may start threads.

RLIMIT_NPROC would forbid both, and libde265, which decodes HEIC, always starts a thread. It also does not bind root.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER_AT, _ARCHITECTURE_AT, _FLAGS_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x10000
_OTHER_NUMBERS = 0x40000000  # of the x32 ABI
_ABSENT = 0xFFFFFFFF
_CALLS = {  # architecture, clone, clone3, fork, vfork
    "x86_64": (0xC000003E, 56, 435, 57, 58),
    "aarch64": (0xC00000B7, 220, 435, _ABSENT, _ABSENT),
}
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_processes() -> bool:
    """Return False if the kernel or the processor has no such filter. It cannot be taken back."""
    calls = _CALLS.get(platform.machine())
    if calls is None or _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    steps = _steps(*calls)
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    return bool(_LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _steps(architecture: int, clone: int, clone3: int, fork: int, vfork: int) -> list[tuple[int, int, int, int]]:
    """Return code, steps to skip if true, steps to skip if false, and operand. glibc uses clone where clone3 is missing."""
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, 8, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 6, 0, _OTHER_NUMBERS),
        (_EQUAL, 6, 0, clone3),
        (_EQUAL, 4, 0, fork),
        (_EQUAL, 3, 0, vfork),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FLAGS_AT),
        (_HAS_BIT, 2, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_RETURN, 0, 0, _ALLOW),
    ]
