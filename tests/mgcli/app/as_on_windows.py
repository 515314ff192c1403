"""Command lines run as far as Linux can play Windows: `echo '[["mgcli.mg", "doctor"]]' | python -m tests.mgcli.app.as_on_windows`.

What our files import is without the names that Windows has not, and its sys.platform is win32; a file that is open (here or in
a program we started) is neither removed nor replaced; msvcrt and kernel32 are played by the few calls that we make. Other
packages, imported before, know where they are. KEYS are pressed at the console.
"""

import ctypes
import errno
import fcntl
import functools
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import types
import warnings
from importlib.util import find_spec
from pathlib import Path

THEIRS = """
    asyncio concurrent.futures.thread http.client multiprocessing numpy torch torch._dynamo torch.profiler safetensors.torch
    tokenizers huggingface_hub huggingface_hub.errors imageio_ffmpeg matplotlib.pyplot PIL.Image PIL.ImageDraw PIL.ImageFont
    rich.console rich.live rich.progress starlette.applications starlette.websockets tempfile torchmetrics.functional.image
    typer typer.core typer.main uvicorn webbrowser yaml ftfy
""".split()
EXTRAS = ("gymnasium",)
NO_MODULES = "crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split()
NOT_IN_OS = """
    chown chroot confstr copy_file_range ctermid fchmod fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid
    getgrouplist getgroups getloadavg getpgid getpgrp getpriority getresgid getresuid getsid getuid initgroups killpg lchown lockf
    login_tty memfd_create mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp pread
    preadv pwrite pwritev readv register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid
    setgroups setpgid setpriority setsid setuid statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid
    writev O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG
""".split()
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
# the right arrow, w, nothing for a moment, a French letter, nothing for a moment, n
KEYS = ["\xe0", "M", "w", None, "\xe0", None, "n"]


class Without(types.ModuleType):
    """A module without some names, with others."""

    def __init__(self, module: types.ModuleType, gone: set[str], more: dict[str, object]):
        super().__init__(module.__name__)
        self.__dict__.update({name: value for name, value in vars(module).items() if name not in gone} | more)


def locking(file: int, what: int, count: int) -> None:
    """Of a range of bytes from here, against everybody who opened the file apart, this process too."""
    kind = fcntl.F_UNLCK if what == 0 else fcntl.F_WRLCK
    where = os.lseek(file, 0, os.SEEK_CUR)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, where, count, 0))
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


def refuse_open_files(name: str) -> None:
    """`os.<name>` of a path that somebody of ours holds open, or has mapped, is an error."""
    real = getattr(os, name)

    @functools.wraps(real)
    def checked(*paths, **options):
        for path in paths[: 2 if name in ("replace", "rename") else 1]:
            if os.path.lexists(path) and os.path.realpath(path) in held():
                raise PermissionError(errno.EACCES, "The process cannot access the file: it is being used", str(path))
        return real(*paths, **options)

    setattr(os, name, checked)


def held() -> set[str]:
    """The files that this process or one it started has open or mapped."""
    found = set()
    for process in [Path("/proc/self"), *(Path("/proc") / child for child in children())]:
        for file in (process / "fd").glob("*"):
            found.add(os.path.realpath(file))
        found |= {line.split(maxsplit=5)[-1] for line in (process / "maps").read_text("utf-8").splitlines()}
    return found


def children() -> list[str]:
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text("utf-8").split()]


def kbhit() -> bool:
    if KEYS and KEYS[0] is None:
        KEYS.pop(0)
        return False
    return bool(KEYS)


def global_memory_status(status) -> int:
    assert status._obj.length == 64
    status._obj.physical = 7 << 30
    return 1


def process_memory(process: object, counted, size: int) -> int:
    assert size == counted._obj.length == 72 and process == -1
    counted._obj.peak = 3 << 30
    return 1


def popen(command, **options) -> subprocess.Popen:
    assert not options.keys() & {"preexec_fn", "pass_fds", "start_new_session"}
    assert options.pop("creationflags") == 0x200, "Ctrl-C at the console would reach it"
    return subprocess.Popen(command, **options, start_new_session=True)


def run(command, **options) -> subprocess.CompletedProcess:
    assert options.pop("creationflags") == 0x200, "Ctrl-C at the console would reach it"
    return subprocess.run(command, **options, start_new_session=True)


def become_windows() -> None:
    for name in (*THEIRS, *(name for name in EXTRAS if find_spec(name))):
        importlib.import_module(name)
    for name in ("replace", "rename", "remove", "unlink"):
        refuse_open_files(name)
    signals = {name for name in dir(signal) if name.startswith("SIG") and name[3] != "_"} - SIGNALS
    new_group = {"CREATE_NEW_PROCESS_GROUP": 0x200}
    sys.modules["sys"] = Without(sys, set(), {"platform": "win32"})
    sys.modules["os"] = Without(os, set(NOT_IN_OS), {})
    sys.modules["signal"] = Without(signal, signals - {"SIG_IGN", "SIG_DFL"}, {"SIGBREAK": signal.SIGQUIT})
    sys.modules["subprocess"] = Without(subprocess, set(), {"Popen": popen, "run": run, **new_group})
    sys.modules["msvcrt"] = msvcrt = types.ModuleType("msvcrt")
    vars(msvcrt).update(LK_UNLCK=0, LK_NBLCK=2, locking=locking, kbhit=kbhit, getwch=lambda: KEYS.pop(0))
    kernel = types.SimpleNamespace(
        GlobalMemoryStatusEx=global_memory_status,
        K32GetProcessMemoryInfo=process_memory,
        GetCurrentProcess=lambda: -1,
    )
    ctypes.windll = types.SimpleNamespace(kernel32=kernel)
    for name in NO_MODULES:
        sys.modules[name] = None
    # a file is read in the language of the machine unless told: none of ours may be
    warnings.filterwarnings("error", category=EncodingWarning, module=r"(mgcli|wan|wan22|wanmini)\b")


def locks_and_keys(folder: str) -> dict[str, object]:
    from mgcli.app.locks import locked
    from mgcli.game.keys import Keyboard

    seen: list[str] = []
    until = time.monotonic() + 20
    with Keyboard(0) as keyboard:
        while seen[-1:] != ["n"] and time.monotonic() < until:
            seen += [key for _, key in keyboard.pressed()]
    (Path(folder) / ".a.mp4.lock").write_text("left by one that was killed", encoding="utf-8")
    held = "twice"
    with locked(Path(folder) / "a.mp4"):
        try:
            with locked(Path(folder) / "a.mp4"):
                pass
        except BlockingIOError as error:
            held = "by this process" if str(error) == str(os.getpid()) else str(error)
    return {"keys": seen, "held": held, "left": os.listdir(folder)}


def main() -> None:
    become_windows()
    run = importlib.import_module("mgcli.app.errors").run
    for program, *arguments in json.load(sys.stdin):
        if program == "import":
            for name in arguments:
                importlib.import_module(name)
        elif program == "locks and keys":
            print(json.dumps(locks_and_keys(*arguments)))
        elif code := run(importlib.import_module(program).app, arguments):
            sys.exit(code)


if __name__ == "__main__":
    main()
