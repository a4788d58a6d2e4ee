"""swap ROOT OUTSIDE: until a line comes on stdin, puts symlinks to OUTSIDE and fifos in the place of directories and
files of ROOT, and puts them back, as fast as it can. Prints how many times it did."""
import os, select, sys

root, outside = sys.argv[1:3]


def try_(call, *args):
    try:
        call(*args)
    except OSError:
        pass


def swap(path, make):
    kept = path + ".kept"
    try_(os.rename, path, kept)
    try_(make, path)
    if os.path.islink(path) or not os.path.isdir(path):
        try_(os.unlink, path)
    try_(os.rename, kept, path)


def symlink_to(target):
    return lambda path: os.symlink(target, path)


times = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for i in range(4):
        swap(os.path.join(root, "d%d" % i), symlink_to(outside))
        swap(os.path.join(root, "d%d" % i, "sub"), symlink_to(outside))
        for j in range(3):
            file = os.path.join(root, "d%d" % i, "f%d" % j)
            swap(file, symlink_to(os.path.join(outside, "f%d" % j)))
            swap(file, os.mkfifo)
        times += 1
print(times)
