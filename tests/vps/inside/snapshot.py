"""Prints the state of the server as sorted lines, so that two states can be compared line by line.

usage: python3 - SCOPE...    scopes: etc accounts units services nginx projects databases registry

What changes by itself (times, process numbers, log contents, the trash) is left out.
"""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys

# The shadow suite's own copies of the state before its last change, and its lock.
SHADOW = {f"/etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")}
IGNORED = SHADOW | {"/etc/.pwd.lock"}

# Passwords are other ones each time; whether they are the right ones, `doctor` says.
WITH_PASSWORDS = {".env", "users.acl"}

VOLATILE = {"age", "since", "pid", "at", "uptime", "timings", "memory", "duration", "cpu"}


def run(*argv):
    # The text that nginx prints with a warning must not be lost either.
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return done.stdout.decode(errors="replace").splitlines()


def entry(path, contents=True):
    meta = os.lstat(path)
    kind = stat.S_IFMT(meta.st_mode)
    if kind == stat.S_IFLNK:
        return f"file {path} link {os.readlink(path)}"
    line = f"file {path} {stat.S_IMODE(meta.st_mode):04o} {meta.st_uid}:{meta.st_gid}"
    acl = [a for a in os.listxattr(path) if a.startswith("system.posix_acl")]
    for name in sorted(acl):
        line += " acl " + hashlib.sha256(os.getxattr(path, name)).hexdigest()[:12]
    if kind == stat.S_IFREG and contents:
        with open(path, "rb") as file:
            text = file.read()
        if os.path.basename(path) in WITH_PASSWORDS:
            text = re.sub(rb"[A-Za-z0-9]{32,}", b"PASSWORD", text)
        line += " " + hashlib.sha256(text).hexdigest()[:16]
    elif kind == stat.S_IFDIR:
        line += " dir"
    return line


def tree(top, contents=True, without=()):
    if not os.path.lexists(top):
        return
    yield entry(top, contents)
    for directory, dirs, files in os.walk(top):
        dirs[:] = [d for d in dirs if d not in without]
        for name in sorted(dirs + files):
            path = os.path.join(directory, name)
            if path not in IGNORED:
                yield entry(path, contents)


def etc():
    yield from tree("/etc")


def accounts():
    for database in ("passwd", "group", "shadow", "gshadow"):
        for line in run("getent", database):
            yield f"{database} {line}"


# Units that come and go with the machine's own business.
def passing(name):
    mine = re.match(r"hostkit-.*_(call|probation)-", name)
    return bool(mine) or name.endswith((".device", ".scope")) or name.startswith(("user@", "user-runtime-dir@", "run-", "systemd-"))


# systemd remembers a unit that has ended for a moment longer, and forgets it by itself: one whose file is
# gone, and the one that takes over for a moment, whose file stays.
def fading(name, active):
    gone = name.endswith("_surge.service") or not os.path.exists(f"/etc/systemd/system/{name}")
    return name.startswith("hostkit-") and active == "inactive" and gone


def units():
    for line in run("systemctl", "list-unit-files", "--no-legend", "--no-pager"):
        if passing(line.split()[0]):
            continue
        yield "unit-file " + " ".join(line.split())
    for line in run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager"):
        name, load, active = line.split()[:3]
        if not passing(name) and not fading(name, active):
            yield f"unit {name} {load} {active}"


def services():
    for line in run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "hostkit-*"):
        name, load, active, sub = line.split()[:4]
        # Work that goes on by itself, and looks after a release for some minutes.
        if passing(name) or fading(name, active):
            continue
        yield f"service {name} {load} {active} {sub}"


def nginx():
    for number, line in enumerate(run("nginx", "-T")):
        # A complaint carries the time and a process number.
        yield f"nginx {number:05d} " + re.sub(r"^[0-9/]+ [0-9:]+ (\[\w+\]) [0-9#]+", r"\1", line)


def projects():
    yield from tree("/home", without=(".hostkit-trash",))
    for line in tree("/var/log/projects", contents=False, without=(".trash",)):
        # A log appears when something is first written to it.
        if ".log" not in line:
            yield line


def steady(value):
    if isinstance(value, dict):
        return {
            key: steady(item)
            for key, item in value.items()
            if key not in VOLATILE and not key.endswith(("_at", "_ms", "_seconds"))
        }
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value


def answer(*argv):
    text = "\n".join(run("hostkit", "--json", *argv))
    try:
        envelope = json.loads(text)
    except ValueError:
        return {"unreadable": text}
    return steady({"ok": envelope["ok"], "data": envelope["data"], "error": envelope.get("error")})


def flat(prefix, value):
    """One line for every leaf, so that a difference is one line too."""
    if isinstance(value, dict):
        for key, item in sorted(value.items()):
            yield from flat(f"{prefix}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            named = isinstance(item, dict) and (item.get("name") or item.get("release") or item.get("id"))
            yield from flat(f"{prefix}[{named or ''}]", item)
    else:
        yield f"{prefix} = {json.dumps(value)}"


def registry():
    listed = answer("project", "list")
    yield from flat("registry projects", listed)
    for project in (listed.get("data") or {}).get("projects", []):
        yield from flat(f"registry releases {project['name']}", answer("releases", project["name"]))


CATALOGUE = """
SELECT concat_ws(' ', 'role', rolname, rolcanlogin, rolsuper, rolconnlimit, rolpassword IS NOT NULL,
    (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid
     WHERE m.member = r.oid)) FROM pg_authid r
UNION ALL
SELECT concat_ws(' ', 'database', datname, datallowconn, datconnlimit, pg_get_userbyid(datdba), datacl)
FROM pg_database
"""


def databases():
    for line in run("runuser", "-u", "postgres", "--", "psql", "-XAtc", CATALOGUE):
        # What was taken away and waits to be dropped is trash.
        if "_gone_" not in line:
            yield f"databases {line}"


SCOPES = {f.__name__: f for f in (etc, accounts, units, services, nginx, projects, databases, registry)}

for scope in sys.argv[1:]:
    for line in sorted(SCOPES[scope]()):
        print(line)
