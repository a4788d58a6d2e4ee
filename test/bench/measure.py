"""Runs a command and measures it: wall and CPU seconds, and the peak of the memory of all processes that it brought."""
import os, threading, time

TICKS = os.sysconf("SC_CLK_TCK")


def pids():
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def busy_seconds():
    """CPU seconds that the whole machine has worked so far."""
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def left_running(before, mark):
    """Processes that began after `before` was taken and have `mark` (bytes) in their environment or command line."""
    found = []
    for pid in pids() - before:
        try:
            with open(f"/proc/{pid}/environ", "rb") as env, open(f"/proc/{pid}/cmdline", "rb") as line:
                if mark in env.read() or mark in line.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def cpu_of(processes):
    """Their CPU seconds, with those of children that they have waited for."""
    total = 0
    for pid in processes:
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15]) / TICKS
        except OSError:
            pass
    return total


class PeakMemory(threading.Thread):
    """Samples the summed PSS of every process that began after `before` was taken, servers included."""

    def __init__(self, before):
        super().__init__(daemon=True)
        self.before, self.peak_kb, self.done = before, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            self.peak_kb = max(self.peak_kb, sum(map(pss_kb, pids() - self.before)))


def pss_kb(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def measure(argv, env, log, before, mark):
    """`before`: pids before the tool's first command, so that servers which it left running are its own."""
    memory = PeakMemory(before)
    memory.start()
    servers_cpu = cpu_of(left_running(before, mark))
    with open(log, "ab") as out:
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, out.fileno(), fd) for fd in (1, 2)]
        busy, start = busy_seconds(), time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        wall, busy = time.monotonic() - start, busy_seconds() - busy
    memory.done.set()
    memory.join()
    cpu = usage.ru_utime + usage.ru_stime + max(0, cpu_of(left_running(before, mark)) - servers_cpu)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "wall": round(wall, 3),
        "cpu": round(cpu, 3),
        "memory": memory.peak_kb // 1024,
        "others": round(max(0, busy - cpu), 2),
    }
