"""Makes the tables of docs/benchmarks.md from a bench's results."""
from statistics import median

BEGIN, END = "<!-- made by npm run bench: begin -->", "<!-- made by npm run bench: end -->"
# operation: (limit of the same round, its words, goal as a ratio, best peer's ratio as published in this file)
GOALS = {
    "full": ("tar-zstd", "tar \\| zstd -1 -T2", 1.2),
    "unchanged": ("find", "find with stat", 1.8),
    "changed": ("find", "find with stat", 4),
    "restore": ("untar", "zstd -d \\| tar x", 1.2),
    "one file": (None, "", "0.2 s"),
    "in place": ("rsync-back", "rsync -a --delete", 1.0),
    "check": ("tar-zstd", "tar \\| zstd -1 -T2", 0.4),
}


def spread(values):
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def row(name, operation, results):
    limit, words, goal = GOALS[operation]
    rounds = results["tools"][name]
    walls = [one[operation]["wall"] for one in rounds]
    cpu = median(one[operation]["cpu"] for one in rounds)
    memory = max(one[operation]["memory"] for one in rounds)
    ratio, seconds = "", ""
    if limit:
        limits = [one[limit]["wall"] for one in results["limits"]]
        value = median(wall / base for wall, base in zip(walls, limits))
        missed = goal is not None and name == "tidemark" and value > goal
        ratio = f"{value:.2f}{' **missed**' if missed else ''}"
        seconds = f"{words}: {spread(limits)}"
    return f"| {operation} | {spread(walls)} | {cpu:.2f} | {seconds} | {ratio} | {goal if goal and name == 'tidemark' else ''} | {memory} |"


def table(name, results):
    lines = ["| operation | seconds | CPU s | limit | ratio | goal | peak MB, all processes |", "|---|---|---|---|---|---|---|"]
    lines += [row(name, operation, results) for operation in GOALS]
    rounds = results["tools"][name]
    full = median(one["full"]["repository"] for one in rounds) / 1e6
    growth = median(one["changed"]["growth"] for one in rounds) / 1e6
    differences = {op: one["differences"] for op, one in rounds[0].items() if one.get("differences")}
    exact = f"differences: {differences}" if differences else "both restored trees were exact"
    return "\n".join([f"### {name}: {results['versions'][name]}", "", *lines, "", f"Repository {full:.1f} MB after the full, {growth:+.1f} MB after the change; {exact}."])


def tables(results):
    machine = results["machine"]
    head = f"{machine['date']}, {machine['cores']} cores, Linux {machine['kernel']}, tmpfs, tree of {machine['tree'] / 1e6:.0f} MB in {len(results['limits'])} rounds; medians (lowest-highest), ratios by round."
    return "\n\n".join([head, *(table(name, results) for name in results["tools"])])


def write(path, results):
    write_between(path, BEGIN, END, tables(results))


def write_between(path, begin, end, made):
    with open(path) as file:
        text = file.read()
    before, after = text.index(begin) + len(begin), text.index(end)
    with open(path, "w") as file:
        file.write(f"{text[:before]}\n{made}\n{text[after:]}")
