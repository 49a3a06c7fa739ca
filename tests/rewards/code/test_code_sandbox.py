"""The sandbox: each attack is stopped within its limit and counted under its name, and nothing is
left behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.code_prompts import code_grades, code_prompt, outcomes
from common.errors import BadInput
from prompts.parts import CodePart
from rewards.code import command, sandbox, usage
from rewards.code.verifier import Code
from rewards.interface import Answer, Resources

TESTS = {"inputs": ["", ""], "outputs": ["safe\n", "safe\n"]}
FUNCTION = {"test_list": ["assert f() == 'safe'"]}
ATTACKS = {
    "infinite loop": ("while True: pass", "timeout"),
    "sleep": ("import time; time.sleep(1000)", "timeout"),
    "ignores the signal of its limit": (
        "import signal\nfor n in range(1, 65):\n try: signal.signal(n, signal.SIG_IGN)\n"
        " except (OSError, ValueError): pass\nwhile True: pass",
        "timeout",
    ),
    "fork bomb": ("import os\nwhile True: os.fork()", "processes"),
    "fork bomb that goes on": (
        "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
        "processes",
    ),
    "threads": (
        "import threading as t, time\nwhile True: t.Thread(target=time.sleep, args=[99]).start()",
        "processes",
    ),
    "10 GB of memory": ("x = bytearray(10 ** 10)", "memory"),
    "memory, bit by bit": ("x = []\nwhile True: x.append(bytearray(10 ** 6))", "memory"),
    "memory in many processes": (
        "import os, time\nfor _ in range(5):\n if not os.fork(): break\n"
        "x = bytearray(90 * 2 ** 20)\nx[::4096] = bytes(len(x[::4096]))\ntime.sleep(99)",
        "memory",
    ),
    "memory that belongs to no process": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.memfd_create(b'x', 0) < 0 and libc.shmget(0, 10 ** 6, 0o1600) < 0:\n"
        " raise PermissionError",
        "denied",
    ),
    "10 GB of output": ("while True: print('x' * 10 ** 6)", "output"),
    "10 GB of errors": ("import sys\nwhile True: sys.stderr.write('x' * 10 ** 6)", "output"),
    "10 GB in a file": ("with open('x', 'wb') as f:\n while True: f.write(bytes(10**6))", "output"),
    "10 GB in many files": (
        "i = 0\nwhile True:\n i += 1\n with open(str(i), 'wb') as f: f.write(bytes(10 ** 6))",
        "output",
    ),
    "write outside": ("open('/usr/lib/safe', 'w')", "denied"),
    "write beside the scratch folder": ("open('/safe', 'w')", "denied"),
    "read outside": ("print(open('/etc/passwd').read())", "denied"),
    "other processes": ("import os; print(os.listdir('/proc'))", "denied"),
    "socket": ("import socket; socket.create_connection(('127.0.0.1', 22))", "denied"),
    "unix socket": ("import socket; socket.socket(socket.AF_UNIX)", "denied"),
    "other programs": ("import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])", "denied"),
    "limits of the first process": (
        "import resource; resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))",
        "denied",
    ),
    "its limits raised": (
        "import resource as r\nr.setrlimit(r.RLIMIT_NPROC, (999, 999))",
        "error",
    ),
    "a namespace of its own": (
        "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000): raise PermissionError",
        "denied",
    ),
    "symlink out": (
        "import os\nos.symlink('/etc', 'e')\nprint(open('e/passwd').read())",
        "error",
    ),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "crash"),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", "crash"),
}
SMALL = {"seconds": 1, "memory_mib": 256, "processes": 8, "output_kib": 64, "scratch_mib": 8}


@pytest.fixture
def nothing_left():
    """In the end no process is left of the sandboxes that this process started."""
    yield
    all_end(os.getpid())


def all_end(starter):
    end = time.monotonic() + 5
    while running(starter) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(starter)


def running(starter):
    """The processes of the sandboxes that a process started, as this machine sees them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command.BOOT.encode() in words and str(starter).encode() in words:
            found.add(folder.name)
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_stopped_and_counted_under_its_name(name, nothing_left):
    program, expected = ATTACKS[name]
    begin = time.monotonic()
    assert outcomes(code_grades(TESTS, program, **SMALL)) == [expected]
    assert time.monotonic() - begin < 20


def test_the_same_holds_where_a_function_is_tested(nothing_left):
    names = ["infinite loop", "fork bomb", "10 GB of memory", "10 GB of output", "read outside"]
    for name in names:
        program, expected = ATTACKS[name]
        whole = "def f():\n" + "".join(f"    {line}\n" for line in program.splitlines())
        assert outcomes(code_grades(FUNCTION, whole, **SMALL)) == [expected], name


def test_what_a_program_sees_is_a_scratch_folder_and_python(nothing_left):
    program = """
import os
seen = [dict(os.environ), os.getpid() == 1, sorted(set(os.listdir('/')) & {'home', 'etc', 'tmp'})]
seen += [os.listdir('.'), os.path.exists('/proc'), len(os.listdir('/usr')) > 2]
print('safe' if seen == [{}, False, [], [], False, False] else seen)
"""
    assert outcomes(code_grades(TESTS, program)) == ["passed"]


def test_a_program_runs_under_the_limits_that_the_recipe_gives():
    program = """
import resource as r
names = 'CPU', 'AS', 'FSIZE', 'CORE', 'NPROC'
limits = [r.getrlimit(getattr(r, f'RLIMIT_{name}')) for name in names]
wanted = [1, 256 * 2**20, 8 * 2**20, 0, 10]  # two processes are the sandbox's own
print('safe' if limits == [(most, most) for most in wanted] else limits)
"""
    assert outcomes(code_grades(TESTS, program, **SMALL)) == ["passed"]


def test_a_background_process_and_a_parent_are_out_of_reach(nothing_left):
    program = """
import os, time
for signal in (2, 9, 15):
    os.kill(os.getppid(), signal)
if not os.fork():
    os.setsid()
    if not os.fork():
        time.sleep(1000)
    os._exit(0)
print('safe')
"""
    assert outcomes(code_grades(TESTS, program)) == ["passed"]


def test_a_server_on_this_machine_is_out_of_reach():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port})); print('safe')"
        assert outcomes(code_grades(TESTS, program)) == ["denied"]


def test_a_sandbox_ends_with_the_process_that_started_it():
    code = (
        "from builders.code_prompts import code_grades\n"
        "code_grades({'inputs': [''], 'outputs': ['']}, 'print(1, flush=True)\\nwhile True: pass',"
        " seconds=500)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    end = time.monotonic() + 60
    while len(running(child.pid)) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(running(child.pid)) == 3  # bubblewrap, the first process, the program
    child.kill()
    child.wait()
    all_end(child.pid)


def test_an_honest_program_may_use_files_threads_and_its_memory():
    program = """
import asyncio, os, threading
with open('notes.txt', 'w') as file:
    file.write('sa')
threads = [threading.Thread(target=bytearray, args=[10**6]) for _ in range(4)]
for thread in threads:
    thread.start()
data = bytearray(100 * 2**20)
asyncio.run(asyncio.sleep(0))
print(open('notes.txt').read() + 'fe')
"""
    assert outcomes(code_grades(TESTS, program)) == ["passed"]


def test_a_broken_sandbox_is_a_fault_and_no_zero(monkeypatch):
    opened = Code().open(CodePart(verifier="code"), Resources())
    monkeypatch.setattr(command, "_python", lambda: "/nowhere/python")
    results = opened.grade(code_prompt(TESTS), [Answer("print('safe')"), Answer("no code")])
    opened.close()
    assert [one.fault for one in results] == ["sandbox", None]


def test_a_sandbox_that_does_not_start_in_time_is_a_fault_and_no_zero(monkeypatch, nothing_left):
    opened = Code().open(CodePart(verifier="code"), Resources())
    monkeypatch.setattr(sandbox, "START", 0.2)
    monkeypatch.setattr(command, "BOOT", "import time\ntime.sleep(60)")
    results = opened.grade(code_prompt(TESTS), [Answer("print('safe')"), Answer("no code")])
    opened.close()
    assert [one.fault for one in results] == ["sandbox", None]
    with pytest.raises(BadInput, match="it did not start: timeout"):
        sandbox.require_sandbox()


def test_tests_too_large_for_the_memory_limit_are_a_fault_and_no_zero(nothing_left):
    tests = {"test_list": [f"TEXT = {'a' * (50 << 20)!r}\nassert f() == 'safe'"]}
    (result,) = code_grades(tests, "def f(): return 'safe'", memory_mib=64)
    assert result.fault == "sandbox"


def test_memory_is_seen_where_a_process_may_not_be_traced(monkeypatch, tmp_path):
    """As root in a container without SYS_PTRACE: /proc has no `smaps_rollup` to read."""
    folder = tmp_path / "7"
    (folder / "task/7").mkdir(parents=True)
    (folder / "task/7/children").write_text("")
    (folder / "statm").write_text("5000 300 50 1 0 200 0\n")
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    assert usage.memory_of(7) == 250 * os.sysconf("SC_PAGE_SIZE")
    (folder / "smaps_rollup").write_text("Rss: 1200 kB\nPss: 700 kB\n")
    assert usage.memory_of(7) == 700 << 10
    assert usage.memory_of(8) == 0


def test_without_bubblewrap_nothing_is_opened(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput) as caught:
        Code().open(CodePart(verifier="code"), Resources())
    assert "bwrap" in caught.value.message and "apt-get install bubblewrap" in caught.value.remedy


def test_a_bubblewrap_that_may_make_no_sandbox_is_named(monkeypatch, tmp_path):
    stub = tmp_path / "bwrap"
    stub.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BadInput) as caught:
        Code().open(CodePart(verifier="code"), Resources())
    assert "No permissions to create new namespace" in caught.value.message


def test_a_user_who_is_not_root_has_the_same_sandbox(monkeypatch, nothing_left):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    answers = ["print('safe')", ATTACKS["read outside"][0], ATTACKS["10 GB of memory"][0]]
    answers += [ATTACKS["socket"][0], ATTACKS["a namespace of its own"][0]]
    expected = ["passed", "denied", "memory", "denied", "denied"]
    assert outcomes(code_grades(TESTS, *answers, **SMALL)) == expected
