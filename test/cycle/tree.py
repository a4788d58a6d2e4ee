#!/usr/bin/env python3
"""tree.py make DIR | tree.py edit N DIR: a tree with every kind of entry, and three rounds of edits of every kind."""
import os, random, shutil, stat, struct, sys

ROOT = os.geteuid() == 0
T0 = 1_700_000_000 * 10**9


def P(d, rel):
    return os.path.join(os.fsencode(d), os.fsencode(rel))


def w(d, rel, data, mode=0o644, t=T0 + 123456789):
    p = P(d, rel)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    with open(p, "wb") as f:
        f.write(data)
    os.chmod(p, mode)
    os.utime(p, ns=(t, t))
    return p


def make(d):
    rng = random.Random(7)
    os.makedirs(P(d, "empty/below"))
    for i in range(300):
        w(d, f"many/d{i % 7}/f{i:03d}", rng.randbytes(rng.randint(0, 3000)), t=T0 + i)
    for rel in ["names/größe", "names/new\nline", "names/__proto__", "names/-dash", "names/back\\slash", b"names/\xff\xfe\x80", b"dir-\xe4/\xf6", "names/" + "n" * 255]:
        w(d, rel, b"name")
    w(d, "big", rng.randbytes(12 << 20))
    w(d, "text", b"some text that compresses well\n" * 200_000)
    w(d, "zero", b"")
    w(d, "zeros", bytes(6 << 20))
    with open(P(d, "sparse"), "wb") as f:
        f.write(b"start")
        f.seek(20 << 20)
        f.write(b"end")
        f.truncate(30 << 20)
    w(d, "hard/a", b"linked")
    os.makedirs(P(d, "other"))
    os.link(P(d, "hard/a"), P(d, "other/b"))
    os.link(P(d, "hard/a"), P(d, "hard/c"))
    os.mkfifo(P(d, "fifo"), 0o640)
    for name, to in [("ok", "text"), ("dangling", "/nowhere/x"), ("bytes", b"\xff\x80"), ("long", "x/" * 500)]:
        os.symlink(to, P(d, "link-" + name))
        os.utime(P(d, "link-" + name), ns=(T0 + 5, T0 + 5), follow_symlinks=False)
    for name, sec in [("1960", -315619200), ("2100", 4102444800), ("2200", 7258118400)]:
        w(d, "mtime-" + name, b"t", t=sec * 10**9 + 987654321)
    for mode in (0o600, 0o755, 0o4755, 0o2755) + ((0o000,) if ROOT else ()):
        w(d, f"mode-{mode:o}", b"m", mode)
    os.chmod(P(d, "empty"), 0o1777)
    x = w(d, "xattr", b"x")
    try:
        os.setxattr(x, "user.note", b"a \x00\xff value")
        os.setxattr(x, "user.large", b"v" * 3000)
        os.setxattr(P(d, "empty"), "user.dir", b"on a directory")
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [(1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)])
        os.setxattr(x, "system.posix_acl_access", acl)
        if ROOT:
            os.setxattr(w(d, "capable", b"c", 0o755), "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
            os.setxattr(P(d, "link-ok"), "trusted.note", b"on a link", follow_symlinks=False)
    except OSError as e:
        print("left out:", e, file=sys.stderr)
    if ROOT:
        os.mknod(P(d, "null"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(P(d, "block"), 0o600 | stat.S_IFBLK, os.makedev(7, 200))
        os.chown(P(d, "mode-600"), 1234, 2345)
        os.chown(P(d, "link-ok"), 77, 88, follow_symlinks=False)
    for r, _, _ in os.walk(os.fsencode(d), topdown=False):
        os.utime(r, ns=(T0 + len(r), T0 + len(r)))


def edit(n, d):
    if n == 1:
        w(d, "added/new", b"new file")
        p = P(d, "many/d0/f000")
        st = os.stat(p)
        with open(p, "r+b") as f:
            f.write(b"X")
        os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns))  # same size and mtime
        with open(P(d, "big"), "r+b") as f:
            f.seek(6 << 20)
            f.write(b"in the middle")
        os.chmod(P(d, "text"), 0o640)
        os.unlink(P(d, "many/d1/f001"))
        shutil.rmtree(P(d, "many/d2"))
        os.rename(P(d, "many/d3"), P(d, "many/renamed"))
        w(d, "zero", b"no longer empty")
    elif n == 2:
        w(d, "zero", b"")  # back to what it was
        os.unlink(P(d, "zeros"))
        os.makedirs(P(d, "zeros/is/a/directory"))
        os.unlink(P(d, "link-dangling"))
        w(d, "link-dangling", b"a file now")
        shutil.rmtree(P(d, "added"))
        os.symlink("many", P(d, "added"))
        os.unlink(P(d, "other/b"))
        os.setxattr(P(d, "xattr"), "user.note", b"changed")
        with open(P(d, "text"), "ab") as f:
            f.write(b"appended")
    else:
        shutil.rmtree(P(d, "zeros"))
        os.unlink(P(d, "added"))
        os.link(P(d, "hard/a"), P(d, "other/again"))
        os.utime(P(d, "fifo"), ns=(T0, T0 + 9))
        os.truncate(P(d, "sparse"), 25 << 20)
        for i in range(50):
            w(d, f"late/{i}", b"late %d" % i)


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    edit(int(sys.argv[2]), sys.argv[3])
