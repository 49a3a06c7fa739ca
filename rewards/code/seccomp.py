"""The system calls that a sandbox refuses, as a filter program for the kernel (seccomp, x86-64).

bubblewrap hides files, network and other processes. The filter closes what is left: memory that no
limit counts, sockets, looking into other processes, new namespaces, and kernel interfaces that no
program of a task needs. A refused call fails with EPERM."""

import struct

REFUSED = {
    # memory outside the limits
    **{"shmget": 29, "semget": 64, "msgget": 68, "memfd_create": 319, "memfd_secret": 447},
    # sockets, except pairs within the program
    "socket": 41,
    # other processes
    **{"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
    **{"pidfd_getfd": 438, "process_madvise": 440},
    # namespaces, mounts, files by handle
    **{"unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155},
    **{"chroot": 161, "name_to_handle_at": 303, "open_by_handle_at": 304, "open_tree": 428},
    **{"move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    "mount_setattr": 442,
    # the kernel itself
    **{"bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425},
    **{"io_uring_enter": 426, "io_uring_register": 427, "add_key": 248, "request_key": 249},
    **{"keyctl": 250, "init_module": 175, "finit_module": 313, "delete_module": 176},
    **{"kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168},
    **{"acct": 163, "quotactl": 179, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159},
    **{"clock_adjtime": 305, "sethostname": 170, "setdomainname": 171, "iopl": 172},
    **{"ioperm": 173, "personality": 135, "syslog": 103, "vhangup": 153, "fanotify_init": 300},
}
"""Numbers of the refused calls, from the kernel's table for x86-64."""
CLONE, CLONE3, PRLIMIT = 56, 435, 302
NAMESPACES = 0x7E020000
"""The flags of `clone` that make a namespace."""
X86_64, X32 = 0xC000003E, 0x40000000
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16


def program() -> bytes:
    """The filter in the form that `bwrap --seccomp` reads: 8 bytes per instruction."""
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, X86_64),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_when(_ANY_BIT, X32, EPERM),
        *_when(_EQUAL, CLONE3, ENOSYS),  # libc then takes `clone`, whose flags can be read
    ]
    for number in REFUSED.values():
        lines += _when(_EQUAL, number, EPERM)
    for number, bits in ((CLONE, NAMESPACES), (PRLIMIT, 0xFFFFFFFF)):
        # prlimit on another process: its number is the argument, 0 for the caller itself.
        lines += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARGUMENT),
            *_when(_ANY_BIT, bits, EPERM),
            (_LOAD, 0, 0, _NUMBER),
        ]
    lines.append((_RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _when(test: int, value: int, error: int) -> list[tuple[int, int, int, int]]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, ERRNO | error)]
