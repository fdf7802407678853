"""What a malicious dependency tries while it is installed. Every try ends in one line: `denied NAME: WHY`,
or `ALLOWED NAME: WHAT`."""

import ctypes
import glob
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import time

victim, port, outer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
here = os.getcwd()
me = here.split("/")[2]
libc = ctypes.CDLL(None, use_errno=True)


class Fine(Exception):
    """What was found is no harm."""


def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return "done"


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def write(path):
    with open(path, "w") as file:
        file.write("x")
    return path


def connect(host, number):
    with socket.create_connection((host, number), timeout=4) as stream:
        return str(stream.getpeername())


def ask_unix(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(path)
        return path


def run(*words):
    ran = subprocess.run(words, capture_output=True, timeout=20)
    if ran.returncode != 0:
        raise PermissionError(ran.stderr.decode()[-80:].strip() or f"exit status {ran.returncode}")
    return ran.stdout.decode()[:80]


def homes():
    found = sorted(os.listdir("/home"))
    if found == [me]:
        raise Fine("only its own")
    return found


def roots():
    found = os.listdir("/root")
    if not found:
        raise Fine("an empty one")
    return found


def around():
    found = sorted(os.listdir(f"/home/{me}")) + sorted(os.listdir(f"/home/{me}/releases"))
    if found == ["releases", os.path.basename(here)]:
        raise Fine("nothing but the tree")
    return found


def others():
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit() and os.stat(f"/proc/{pid}").st_uid != os.getuid()]
    if not seen:
        raise Fine("only its own")
    return seen


def environs():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if b"PORT=" in read(path):
                return path
        except OSError:
            pass
    raise Fine("none of another")


def caches():
    found = os.listdir("/var/cache/hostkit")
    if found == [os.path.basename(os.environ["HOME"])]:
        raise Fine("only its own")
    return found


def setuid():
    path = os.path.join(here, "sh")
    shutil.copy("/bin/sh", path)
    try:
        os.chmod(path, 0o4755)
        return oct(os.stat(path).st_mode)
    finally:
        os.remove(path)


def setgid():
    os.mkdir("keep")
    try:
        os.chmod("keep", 0o2777)
        return oct(os.stat("keep").st_mode)
    finally:
        os.rmdir("keep")


def device():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.remove("null")
    return "made"


def hard_link():
    os.link("/usr/bin/passwd", "passwd")
    os.remove("passwd")
    return "made"


def give_away():
    write("mine")
    try:
        os.chown("mine", 0, 0)
        return "root's"
    finally:
        os.remove("mine")


def forks():
    children = []
    try:
        for _ in range(3000):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            children.append(pid)
        return len(children)
    finally:
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def large_file():
    # Without the signal that would end this, the call fails.
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open("large", "wb") as file:
            file.truncate(3 << 30)
        return "3 GiB"
    finally:
        os.remove("large")


def core():
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if (soft, hard) == (0, 0):
        raise Fine("none can be had")
    return (soft, hard)


def packets():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        return "heard"


def raw():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return "sent"


def privileges():
    text = open("/proc/self/status").read()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    held = {key: fields[key].strip() for key in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Groups")}
    groups = held.pop("Groups").split()
    if held == {"CapEff": "0" * 16, "CapPrm": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"} and (
        groups in ([], [str(os.getgid())])
    ):
        raise Fine("none")
    return (held, groups)


def secrets():
    known = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT", "S3_SECRET_KEY"}
    found = known & set(os.environ)
    if not found:
        raise Fine("none")
    return found


TRIES = {
    "read its project's .env": lambda: read(f"/home/{me}/.env"),
    "read its project's shared files": lambda: os.listdir(f"/home/{me}/shared"),
    "write its live release": lambda: write(f"/home/{me}/app/evil"),
    "see what lies around the tree": around,
    "see the homes": homes,
    "read another's .env": lambda: read(f"/home/{victim}/.env"),
    "read another's release": lambda: read(f"/home/{victim}/app/index.html"),
    "see another's cache": caches,
    "find secrets in its environment": secrets,
    "see processes of others": others,
    "read environments of others": environs,
    "trace init": lambda: call("ptrace", 16, 1, 0, 0),
    "signal init": lambda: os.kill(1, 0),
    "reach PostgreSQL on loopback": lambda: connect("127.0.0.1", 5432),
    "reach Redis on loopback": lambda: connect("127.0.0.1", 6379),
    "reach Redis on loopback by IPv6": lambda: connect("::1", 6379),
    "reach an application on loopback": lambda: connect("127.0.0.1", port),
    "reach an application by 127.0.0.2": lambda: connect("127.0.0.2", port),
    "reach nginx by the host's own address": lambda: connect(outer, 80),
    "reach a neighbour": lambda: connect(outer.rsplit(".", 1)[0] + ".1", 22),
    "reach the cloud's metadata": lambda: connect("169.254.169.254", 80),
    "reach PostgreSQL by its socket": lambda: ask_unix("/run/postgresql/.s.PGSQL.5432"),
    "reach Redis by its socket": lambda: ask_unix("/run/redis/hostkit.sock"),
    "reach D-Bus": lambda: ask_unix("/run/dbus/system_bus_socket"),
    "reach systemd": lambda: ask_unix("/run/systemd/private"),
    "reach the journal": lambda: ask_unix("/run/systemd/journal/stdout"),
    "hand an open file to a neighbour": lambda: ask_unix("\0neighbour"),
    "make a ring that opens sockets": lambda: call("syscall", 425, 4, ctypes.create_string_buffer(120)),
    "call sudo": lambda: run("sudo", "-n", "hostkit", "status"),
    "call su": lambda: run("su", "-c", "true"),
    "start a unit": lambda: run("systemd-run", "--wait", "true"),
    "write a crontab": lambda: write(f"/var/spool/cron/crontabs/{me}"),
    "call crontab": lambda: run("crontab", "/dev/null"),
    "write a system's crontab": lambda: write("/etc/cron.d/evil"),
    "write /etc": lambda: write("/etc/evil"),
    "write /usr": lambda: write("/usr/local/bin/evil"),
    "write /opt": lambda: write("/opt/evil"),
    "write /var/lib": lambda: write("/var/lib/evil"),
    "write the kernel's settings": lambda: write("/proc/sys/kernel/core_pattern"),
    "write a control group": lambda: os.mkdir("/sys/fs/cgroup/systemd/evil"),
    "read /etc/shadow": lambda: read("/etc/shadow"),
    "read /root": roots,
    "read HostKit's configuration": lambda: os.listdir("/etc/hostkit"),
    "read the master key": lambda: read("/etc/hostkit/master.key"),
    "read the registry": lambda: read("/var/lib/hostkit/registry.db"),
    "read logs": lambda: os.listdir("/var/log/projects"),
    "read backups": lambda: os.listdir("/var/lib/hostkit/backups"),
    "read the database's files": lambda: os.listdir("/var/lib/postgresql"),
    "make a setuid file": setuid,
    "make a setgid directory": setgid,
    "make a device": device,
    "link a setuid program": hard_link,
    "give a file away": give_away,
    "become root": lambda: os.setuid(0),
    "become another": lambda: os.setuid(1),
    "make a user namespace": lambda: call("unshare", 0x10000000),
    "make a network namespace": lambda: call("unshare", 0x40000000),
    "mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "change the root": lambda: os.chroot("/tmp"),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, 0),
    "set the host's name": lambda: socket.sethostname("evil"),
    "load a kernel module": lambda: call("syscall", 175, None, 0, b""),
    "have privileges": privileges,
    "hear packets": packets,
    "send raw packets": raw,
    "change the packet filter": lambda: run("/usr/sbin/nft", "flush", "ruleset"),
    "read the disk": lambda: [read(path) for path in glob.glob("/dev/[sv]d*")] or read("/dev/sda"),
    "read the kernel's memory": lambda: read("/dev/kmsg"),
    "be more important than others": lambda: os.nice(-20),
    "be spared when memory runs out": lambda: open("/proc/self/oom_score_adj", "wb", 0).write(b"-1000"),
    "leave a core dump": core,
    "fork without end": forks,
    "write a huge file": large_file,
}

for name, attempt in TRIES.items():
    try:
        print(f"ALLOWED {name}: {attempt()}", flush=True)
    except Fine as fine:
        print(f"denied {name}: {fine}", flush=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"denied {name}: {error}", flush=True)

# What it leaves behind must be gone with it.
for place in ["/tmp/evil", "/var/tmp/evil", "/dev/shm/evil"]:
    try:
        write(place)
    except OSError:
        pass
if os.fork() == 0:
    os.setsid()
    sys.stdout.flush()
    for fd in (0, 1, 2):
        os.close(fd)
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1234567"])
    os._exit(0)
print("tried everything", flush=True)
