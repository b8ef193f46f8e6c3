"""What a process may still do before it runs code that nobody looked at: compute, and talk over pipes that are open.

The kernel holds it to that, by resource limits and by a filter of system calls (seccomp, through libseccomp, which
Debian and Ubuntu have). Nothing can be opened, read or written by name, so there is neither a file nor a folder of its
own; there is no socket, no other process, no thread, no signal to others, no sleep, and no randomness of the system.
What was imported before stays usable.
"""

from __future__ import annotations

import ctypes
import errno
import resource
import signal
from dataclasses import dataclass

LIBRARY = "libseccomp.so.2"
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SCMP_ACT_ALLOW and SCMP_ACT_ERRNO of seccomp.h
ALL_THREADS = 4  # SCMP_FLTATR_CTL_TSYNC
PDEATHSIG = 1  # of prctl.h

ALLOWED = (
    "read", "write",
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise",
    "futex", "sched_yield", "sched_getaffinity", "getpid", "gettid",
    "clock_gettime", "clock_getres", "gettimeofday",
    "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
    "exit", "exit_group",
)  # fmt: skip
"""System calls that are left: memory, clocks, pipes that are open, and the end."""


class NotConfined(Exception):
    """This system can't confine a process; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a candidate may use for one trainer's run.

    `cpu_s` is processor time, `wait_s` how long all its answers together may take by the clock, `memory_bytes` the
    address space of its process (Python and numpy take about 0.3 GB of that), `printed_bytes` what it may print.
    """

    cpu_s: int = 60
    wait_s: float = 180.0
    memory_bytes: int = 1 << 30
    printed_bytes: int = 64 << 10


def confine(limits: Limits) -> None:
    """Confine this process for good. Raises `NotConfined` where that can't be done."""
    for what, soft, hard in (
        (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.printed_bytes, limits.printed_bytes),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        already = resource.getrlimit(what)[1]
        most = hard if already == resource.RLIM_INFINITY else min(hard, already)
        resource.setrlimit(what, (min(soft, most), most))
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)  # it doesn't outlive who asks it
    _filter_system_calls()


def _filter_system_calls() -> None:
    try:
        seccomp = ctypes.CDLL(LIBRARY)
    except OSError:
        raise NotConfined(f"there is no {LIBRARY}; install it with: apt-get install libseccomp2 (Linux only)") from None
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))
    seccomp.seccomp_attr_set(context, ALL_THREADS, ctypes.c_uint32(1))
    for name in ALLOWED:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None)
    if failed := seccomp.seccomp_load(context):
        raise NotConfined(f"the kernel takes no filter of system calls (seccomp): error {-failed}")
