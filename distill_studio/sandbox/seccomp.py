"""The system calls that sandboxed code is refused, as a program for the kernel. Pure.

What namespaces leave open: sockets that are not bound to a network namespace (vsock reaches the
host of a virtual machine), io_uring (acts past such filters), new user namespaces (a large kernel
surface), memory outside every limit (memfd, System V), tracing and kernel keys.
Everything else is allowed. Format: linux/filter.h (classic BPF), linux/seccomp.h.
"""

import struct

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data (little endian)
_X32 = 0x40000000
_NEW_USER = 0x10000000  # CLONE_NEWUSER
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: empty worlds in a new network namespace

# name: (x86_64, aarch64); clone3 has no arguments a filter can read: ENOSYS makes libc use clone
_CALLS = {
    "socket": (41, 198),
    "clone": (56, 220),
    "clone3": (435, 435),
}
_REFUSED = {
    "ptrace": (101, 117),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "personality": (135, 92),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "quotactl": (179, 60),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def is_known(machine: str) -> bool:
    """True for processors whose system calls are listed here."""
    return machine in _MACHINES


def program(machine: str) -> bytes:
    """The filter for `platform.machine()`: 8 bytes an instruction.

    Raises:
        KeyError: A processor that is not listed; ask `is_known` first.
    """
    column, architecture = _MACHINES[machine]
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1, 0), _step(_RETURN, _KILL)]
    steps += [_step(_LOAD, _NUMBER), _step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    for numbers in _REFUSED.values():
        steps += _when(numbers[column], [_step(_RETURN, _ERRNO | _EPERM)])
    steps += _when(_CALLS["clone3"][column], [_step(_RETURN, _ERRNO | _ENOSYS)])
    steps += _when(
        _CALLS["clone"][column],
        [
            _step(_LOAD, _ARGUMENT_0),
            _step(_ANY_BIT, _NEW_USER, 0, 1),
            _step(_RETURN, _ERRNO | _EPERM),
            _step(_RETURN, _ALLOW),
        ],
    )
    families = [_step(_EQUAL, f, len(_FAMILIES) - i, 0) for i, f in enumerate(_FAMILIES)]
    steps += _when(
        _CALLS["socket"][column],
        [
            _step(_LOAD, _ARGUMENT_0),
            *families,
            _step(_RETURN, _ERRNO | _EAFNOSUPPORT),
            _step(_RETURN, _ALLOW),
        ],
    )
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter: code, how many instructions to jump over, operand."""
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _when(number: int, then: list[bytes]) -> list[bytes]:
    """`then` (which returns) for this system call, else past it."""
    return [_step(_EQUAL, number, 0, len(then)), *then]
