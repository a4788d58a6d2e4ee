#!/usr/bin/env python3
"""What grows with what: many entries, one large file, many tiny files, one wide directory, a long chain of differentials.
Each case is run once, beside a small one of the same kind in the same minutes. `npm run bench -- --growth [CASE…]`"""
import argparse, os, random, shutil, statistics, subprocess, sys, threading, time
import measure, report

HERE = os.path.dirname(os.path.realpath(__file__))
TIDEMARK = os.path.realpath(f"{HERE}/../../tidemark")
BEGIN, END = "<!-- made by npm run bench -- --growth: begin -->", "<!-- made by npm run bench -- --growth: end -->"
MB = 1 << 20
# Of a chain, each command: homes in turn, medians.
CHAIN_ROUNDS = 5


class PeakMemory(threading.Thread):
    """Of the processes of one home alone: other work on the machine is not counted."""

    def __init__(self, before, mark):
        super().__init__(daemon=True)
        self.before, self.mark, self.peak_kb, self.done = before, mark, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.2):
            self.peak_kb = max(self.peak_kb, sum(map(measure.pss_kb, measure.left_running(self.before, self.mark))))


class Home:
    """A home of its own, whose registry runs before anything is measured."""

    def __init__(self, base, name):
        self.path, self.base = f"{base}/{name}", base
        self.before = measure.pids()
        self.env = {**os.environ, "TIDEMARK_HOME": self.path, "TIDEMARK_PG_IDLE_SECONDS": "5"}
        os.makedirs(f"{base}/empty", exist_ok=True)
        self.run("backup", f"{base}/empty")

    def run(self, *args):
        mark = self.path.encode()
        memory = PeakMemory(self.before, mark)
        memory.start()
        servers = measure.cpu_of(measure.left_running(self.before, mark))
        with open(f"{self.base}/log", "ab") as log:
            actions = [(os.POSIX_SPAWN_DUP2, log.fileno(), fd) for fd in (1, 2)]
            start = time.monotonic()
            pid = os.posix_spawn(TIDEMARK, [TIDEMARK, *args, "--quiet"], self.env, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            wall = time.monotonic() - start
        memory.done.set()
        memory.join()
        if status:
            sys.exit(f"tidemark {' '.join(args)}: {os.waitstatus_to_exitcode(status)}; {open(f'{self.base}/log').read()[-2000:]}")
        servers = measure.cpu_of(measure.left_running(self.before, mark)) - servers
        cpu = usage.ru_utime + usage.ru_stime + max(0, servers)
        return {"wall": wall, "cpu": cpu, "memory": memory.peak_kb // 1024}

    def drop(self):
        """Its registry ends by itself when idle."""
        while measure.left_running(self.before, self.path.encode()):
            time.sleep(0.2)
        shutil.rmtree(self.path)


def tiny_files(folder, count, per_folder, median):
    """Deterministic files, text-like, sizes around `median`."""
    rng = random.Random(count)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    text = b" ".join(rng.choices(words, k=200_000))
    size = 0
    for n in range(count):
        if n % per_folder == 0:
            at = f"{folder}/{n // per_folder // 100:03}/{n // per_folder % 100:02}"
            os.makedirs(at)
        length = min(60_000, int(rng.lognormvariate(0, 0.6) * median))
        start = rng.randrange(len(text) - length)
        with open(f"{at}/file-{n}", "wb", buffering=0) as file:
            file.write(text[start : start + length])
        size += length
    return size


def large_file(folder, megabytes):
    """Half of it random, half compressible."""
    os.makedirs(folder)
    with open(f"{folder}/large", "wb", buffering=0) as file:
        for n in range(megabytes // 2):
            file.write(os.urandom(MB))
            file.write((b"%08d " % n) * (MB // 9 + 1))
    return os.path.getsize(f"{folder}/large")


def one_tree(base, name, make):
    """Full, unchanged and restore of a tree."""
    tree = f"{base}/tree"
    size = make(tree)
    count = sum(len(folders) + len(files) for _, folders, files in os.walk(tree)) + 1
    home = Home(base, "home")
    found = {"full": home.run("backup", tree), "unchanged": home.run("backup", tree)}
    found["restore"] = home.run("restore", "latest", "--source", tree, "--to", f"{base}/out")
    same = subprocess.run([sys.executable, f"{HERE}/../cycle/treediff.py", tree, f"{base}/out"], capture_output=True, text=True)
    if same.returncode:
        sys.exit(f"{name}: the restored tree is another one: {same.stdout}")
    shutil.rmtree(f"{base}/out")
    if name.startswith("tiny"):
        found["tar | zstd"] = tar_zstd(tree)
    home.drop()
    shutil.rmtree(tree)
    return {"name": name, "entries": count, "bytes": size, **{"operations": found}}


def tar_zstd(tree):
    before = os.times()
    start = time.monotonic()
    subprocess.run(["/bin/sh", "-c", f"tar --xattrs -C {tree} -cf - . | zstd -q -1 -T2 -c > /dev/null"], check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": time.monotonic() - start, "cpu": cpu, "memory": 0}


def chain(base, length):
    """The same two versions of a tree, kept as one differential and as a chain of `length`, each of 20 changed files."""
    tree = f"{base}/tree"
    size = tiny_files(tree, 2000, 100, 3500)
    files = sorted(os.path.join(at, name) for at, _, names in os.walk(tree) for name in names)
    homes = {"one": Home(base, "home-one"), "many": Home(base, "home-many")}
    for home in homes.values():
        home.run("backup", tree)
    rng = random.Random(1)
    for n in range(1, length + 1):
        for path in rng.sample(files, 20):
            with open(path, "ab") as file:
                file.write(b"changed %d\n" % n)
        for home in homes.values() if n == length else [homes["many"]]:
            home.run("backup", tree)
    relative = os.path.relpath(files[7], tree)
    commands = {
        "unchanged": lambda to: ["backup", tree],
        "list": lambda to: ["ls", "latest", "--source", tree, "--recursive"],
        "diff": lambda to: ["diff", "latest", "--source", tree],
        "one file": lambda to: ["restore", "latest", relative, "--source", tree, "--to", to],
        "restore": lambda to: ["restore", "latest", "--source", tree, "--to", to],
    }
    found = {"one": {}, "many": {}}
    for operation, command in commands.items():
        rounds = {"one": [], "many": []}
        for n in range(CHAIN_ROUNDS):
            for which, home in homes.items():
                rounds[which].append(home.run(*command(f"{base}/{operation}-{which}-{n}")))
        for which, measured in rounds.items():
            found[which][operation] = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
    for home in homes.values():
        home.drop()
    rows = {"one": "after 1 differential", "many": f"after {length} differentials"}
    return [{"name": rows[which], "entries": 2021, "bytes": size, "operations": found[which]} for which in rows]


def cases(options):
    many, wide, tiny = options.many, options.wide, options.tiny
    return {
        "many": [("20,000 files", lambda at: tiny_files(at, 20_000, 100, 1500)), (f"{many:,} files", lambda at: tiny_files(at, many, 100, 1500))],
        "tiny": [("tiny: 20,000 files of 3.5 KB", lambda at: tiny_files(at, 20_000, 100, 3500)), (f"tiny: {tiny:,} files of 3.5 KB", lambda at: tiny_files(at, tiny, 100, 3500))],
        "large": [("a file of 300 MB", lambda at: large_file(at, 300)), (f"a file of {options.large:,} MB", lambda at: large_file(at, options.large))],
        "wide": [("20,000 files in 200 folders", lambda at: tiny_files(at, 20_000, 100, 300)), (f"{wide:,} files in one folder", lambda at: tiny_files(at, wide, wide, 300))],
    }


def ratio(value, base):
    return f"{value / base:.2f}" if base else ""


def lines_of(case, small, large):
    unit = {"large": "bytes"}.get(case, "entries")
    scale = 1 if case == "chain" else large[unit] / small[unit]
    for operation, one in large["operations"].items():
        other = small["operations"][operation]
        cells = [
            f"{other['wall']:.2f} ({other['cpu']:.2f})",
            f"{one['wall']:.2f} ({one['cpu']:.2f})",
            ratio(one["cpu"], other["cpu"] * scale),
            str(other["memory"] or ""),
            str(one["memory"] or ""),
            ratio(one["memory"], other["memory"]),
        ]
        yield f"| {large['name']} | {operation} | {' | '.join(cells)} |"


def table(results):
    machine = f"{time.strftime('%F')}, {os.cpu_count()} cores, Linux {os.uname().release}, tmpfs, load before {os.getloadavg()[0]:.0f}, one run each (a chain: medians of 5, in turn). Seconds of wall with CPU (Postgres included) in brackets; the ratio is of CPU for each entry (of a large file: for each byte; of a chain: as it is). Memory: summed PSS of all processes."
    head = ["| case | operation | small: s (CPU) | grown: s (CPU) | ratio | small: peak MB | grown: peak MB | ratio |", "|---|---|---|---|---|---|---|---|"]
    rows = [line for case, (small, large) in results.items() for line in lines_of(case, small, large)]
    return "\n".join([machine, "", *head, *rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", help="many, tiny, large, wide, chain; default: all")
    parser.add_argument("--base", default="/dev/shm/tidemark-bench-growth")
    parser.add_argument("--many", type=int, default=2_000_000)
    parser.add_argument("--tiny", type=int, default=400_000)
    parser.add_argument("--large", type=int, default=6_000, help="MB")
    parser.add_argument("--wide", type=int, default=500_000)
    parser.add_argument("--chain", type=int, default=500)
    parser.add_argument("--report")
    options = parser.parse_args()
    os.makedirs(options.base, mode=0o711)
    results = {}
    try:
        for case in options.cases or ["many", "tiny", "large", "wide", "chain"]:
            if case == "chain":
                results[case] = chain(options.base, options.chain)
            else:
                results[case] = [one_tree(options.base, name, make) for name, make in cases(options)[case]]
            print("\n".join(lines_of(case, *results[case])), flush=True)
    finally:
        shutil.rmtree(options.base, ignore_errors=True)
    text = table(results)
    print(text)
    if options.report:
        report.write_between(options.report, BEGIN, END, text)


if __name__ == "__main__":
    main()
