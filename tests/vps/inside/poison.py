"""Looks for words where none of them may be.

usage: python3 poison.py sample OUT STOP ACCOUNT...   until the file STOP is there: the arguments of every
                                                      process, and the environment of all that do not run as
                                                      one of the accounts; written to OUT
       python3 poison.py search WORDS SINCE PLACE...  the places that hold one of the lines of the file WORDS:
                                                      files in the places, files that everybody may read and
                                                      that are newer than the file SINCE, and the journal
"""

import os
import pwd
import stat
import subprocess
import sys


def sample(out, stop, *accounts):
    theirs = {pwd.getpwnam(name).pw_uid for name in accounts}
    seen = set()
    while not os.path.exists(stop):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    seen.add(b"argv " + file.read())
                with open(f"/proc/{pid}/comm") as file:
                    # The store is given its own secrets, and runs as an account of its own.
                    store = file.read() == "garage\n" and os.stat(f"/proc/{pid}").st_uid != 0
                if os.stat(f"/proc/{pid}").st_uid not in theirs and not store:
                    with open(f"/proc/{pid}/environ", "rb") as file:
                        seen.add(b"environ " + file.read())
            except OSError:
                pass
    with open(out, "wb") as file:
        file.write(b"\n".join(sorted(seen)))
    print(len(seen))


def files(place, wanted):
    for directory, names, entries in os.walk(place):
        names[:] = [n for n in names if not os.path.ismount(os.path.join(directory, n))]
        for name in entries:
            path = os.path.join(directory, name)
            try:
                meta = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(meta.st_mode) and wanted(meta):
                yield path


def search(words, since, *places):
    with open(words, "rb") as file:
        poison = [line for line in file.read().split(b"\n") if line]
    born = os.stat(since).st_mtime

    def open_to_all(meta):
        return meta.st_mode & stat.S_IROTH and meta.st_mtime >= born

    found = set()
    looked = 0
    everything = [(place, lambda meta: True) for place in places] + [("/", open_to_all)]
    for place, wanted in everything:
        for path in files(place, wanted):
            try:
                with open(path, "rb") as file:
                    text = file.read()
            except OSError:
                continue
            looked += 1
            if path != words and any(word in text for word in poison):
                found.add(path)
    journal = subprocess.run(["journalctl", "--no-pager", "--output=export"], stdout=subprocess.PIPE).stdout
    if any(word in journal for word in poison):
        found.add("the journal")
    print(f"looked {looked} {len(journal)} {len(poison)}", file=sys.stderr)
    print("\n".join(sorted(found)))


globals()[sys.argv[1]](*sys.argv[2:])
