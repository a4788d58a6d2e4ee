#!/usr/bin/env python3
"""Measures Tidemark, and peers where they are installed, beside the limits of the same machine in the same minutes.

bench.py [-n ROUNDS] [--tools tidemark,restic] [--base DIR] [--out FILE.json] [--report FILE.md]

Each round: a fresh copy of the tree; then per tool: init, full, unchanged, changed (about 1 %), restore of everything, of
one file, and in place, check of all data. The limits (find, tar, zstd, rsync) run in each round too, so that every ratio is
one of the same minutes. Every restored tree is compared exactly in the first round. Wants a tmpfs with 8 GB free."""
import argparse, json, os, shutil, subprocess, sys, time

import measure
import report

HERE = os.path.dirname(os.path.realpath(__file__))
TREEDIFF = os.path.join(HERE, "../cycle/treediff.py")
ONE_FILE = "odd/xattr.txt"  # change_tree.py leaves odd/ alone
LIMITS = {  # name: (command, command afterwards that is not measured)
    "find": ("find $TREE -printf '%p %s %T@ %m %i %n\\n' >/dev/null", None),
    "tar-zstd": ("tar --xattrs -C $TREE -c . | zstd -q -1 -T2 -o $WORK/tree.tar.zst", None),
    "untar": ("zstd -qdc $WORK/tree.tar.zst | tar --xattrs -C $WORK/out -xp", "rm -rf $WORK/tree.tar.zst"),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5, help="rounds")
    parser.add_argument("--tools", default="tidemark")
    parser.add_argument("--base", default="/dev/shm/tidemark-bench", help="a folder that is not there yet")
    parser.add_argument("--out", help="results as JSON")
    parser.add_argument("--report", help="Markdown file whose generated part is written anew")
    return parser.parse_args()


class Bench:
    def __init__(self, base):
        self.base, self.pristine, self.tree, self.work = base, *(f"{base}/{name}" for name in ("pristine", "tree", "work"))
        os.makedirs(f"{base}/logs")
        run(sys.executable, f"{HERE}/make_tree.py", self.pristine)

    def fresh(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.tree, ignore_errors=True)
        for folder in ("cache", "home", "out", "one"):
            os.makedirs(f"{self.work}/{folder}")
        run("cp", "-a", self.pristine, self.tree)

    def env(self):
        folders = {"REPO": "repo", "CACHE": "cache", "HOME": "home"}
        launcher = os.path.realpath(f"{HERE}/../../tidemark")
        own = {name: f"{self.work}/{folder}" for name, folder in folders.items()}
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": self.work, "TREE": self.tree, "WORK": self.work, "TIDEMARK": launcher, **own}

    def limits(self):
        """Seconds of each limit, on a fresh tree; of rsync, bringing the changed tree back from a plain copy."""
        self.fresh()
        found = {}
        for name, (command, afterwards) in LIMITS.items():
            found[name] = self.measured("limits", ["/bin/sh", "-c", command], measure.pids())
            if afterwards:
                subprocess.run(["/bin/sh", "-c", afterwards], env=self.env(), check=True)
        self.change()
        rsync = ["rsync", "-a", "--delete", f"{self.pristine}/", f"{self.tree}/"]
        found["rsync-back"] = self.measured("limits", rsync, measure.pids())
        return found

    def change(self):
        run(sys.executable, f"{HERE}/change_tree.py", self.tree, "1")

    def measured(self, log, argv, before):
        return measure.measure(argv, self.env(), f"{self.base}/logs/{log}.log", before, self.work.encode())

    def tool(self, name, compare):
        """One round of one tool: measures by operation."""
        self.fresh()
        before, found, stored = measure.pids(), {}, 0
        adapter = f"{HERE}/adapters/{name}.sh"

        def do(operation, *verb):
            nonlocal stored
            result = self.measured(name, ["/bin/bash", adapter, *verb], before)
            size = size_of(f"{self.work}/repo")
            found[operation] = {**result, "repository": size, "growth": size - stored}
            stored = size
            return found[operation]

        do("init", "init")
        do("full", "backup", "s1")
        do("unchanged", "backup", "s2")
        self.change()
        do("changed", "backup", "s3")
        unchanged, changed = self.id(adapter, "s2"), self.id(adapter, "s3")
        result = do("restore", "restore_all", changed, f"{self.work}/out")
        if compare:
            result["differences"] = treediff(self.tree, f"{self.work}/out")
        shutil.rmtree(f"{self.work}/out")
        do("one file", "restore_one", changed, ONE_FILE, f"{self.work}/one")
        result = do("in place", "restore_inplace", unchanged)
        if compare:
            result["differences"] = treediff(self.pristine, self.tree)
        do("check", "check")
        self.wait_for_servers(before)
        return found

    def id(self, adapter, tag):
        done = subprocess.run(["/bin/bash", adapter, "id", tag], env=self.env(), capture_output=True, text=True)
        return tag if done.returncode == 42 else done.stdout.strip().split("\n")[-1]

    def wait_for_servers(self, before):
        """What the tool left running ends by itself when idle; the next round must not share the machine with it."""
        end = time.monotonic() + 180
        while measure.left_running(before, self.work.encode()):
            if time.monotonic() > end:
                sys.exit("a server that the tool left running does not end")
            time.sleep(0.2)


def run(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def size_of(folder):
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)


def treediff(a, b):
    done = subprocess.run([sys.executable, TREEDIFF, a, b], capture_output=True, text=True)
    return json.loads(done.stdout)["diff"]


def version(name):
    env = {**os.environ, "REPO": "/nowhere", "CACHE": "/nowhere", "TREE": "/nowhere", "TIDEMARK": os.path.realpath(f"{HERE}/../../tidemark")}
    done = subprocess.run(["/bin/bash", f"{HERE}/adapters/{name}.sh", "version"], env=env, capture_output=True, text=True)
    return done.stdout.strip().split("\n")[0]


def main():
    options = arguments()
    tools = options.tools.split(",")
    bench = Bench(options.base)
    results = {
        "machine": {"cores": os.cpu_count(), "kernel": os.uname().release, "date": time.strftime("%F"), "tree": size_of(bench.pristine)},
        "versions": {name: version(name) for name in tools},
        "limits": [],
        "tools": {name: [] for name in tools},
    }
    try:
        for number in range(options.n):
            results["limits"].append(bench.limits())
            print(f"round {number + 1}: limits", {name: one["wall"] for name, one in results["limits"][-1].items()}, flush=True)
            for name in tools:
                results["tools"][name].append(bench.tool(name, compare=number == 0))
                print(f"round {number + 1}: {name}", {op: one["wall"] for op, one in results["tools"][name][-1].items()}, flush=True)
            if options.out:
                with open(options.out, "w") as out:
                    json.dump(results, out, indent=1)
    finally:
        shutil.rmtree(options.base, ignore_errors=True)
    print(report.tables(results))
    if options.report:
        report.write(options.report, results)
    failed = [f"{name} {op}" for name, rounds in results["tools"].items() for one in rounds for op, m in one.items() if m["exit"] or m.get("differences")]
    if failed:
        sys.exit(f"failed or not exact: {', '.join(failed)}")


if __name__ == "__main__":
    main()
