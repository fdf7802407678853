"""Speaks with Redis as a project would, with nothing but a socket and an address from an `.env`."""
import re, socket, sys, threading, time


class Refused(Exception):
    pass


class Link:
    def __init__(self, url, select=True):
        self.user, self.password, host, port, self.number = re.match(
            r"redis://([^:]+):([^@]+)@([^:]+):(\d+)/(\d+)", url).groups()
        self.socket = socket.create_connection((host, int(port)), 5)
        self.file = self.socket.makefile("rb")
        self("AUTH", self.user, self.password)
        if select:
            self("SELECT", self.number)

    def __call__(self, *words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(out)
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line:
            raise Refused("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind in b"*>":
            answers = []
            for _ in range(max(0, int(rest))):
                try:
                    answers.append(self.read())
                except Refused as refused:
                    answers.append(refused)
            return answers
        raise Refused("what is %r" % line)


class Admin(Link):
    """HostKit's own login."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect("/run/redis/hostkit.sock")
        self.file = self.socket.makefile("rb")
        self("AUTH", "hkadmin", open("/etc/hostkit/secrets/redis").read().strip())


def walk(user):
    """Every command and subcommand of this server: may the user run it?"""
    admin = Admin()
    lines = []
    for name in sorted(admin("COMMAND", "LIST")):
        arity = admin("COMMAND", "INFO", name)[0][1]
        words = name.decode().split("|")
        words += ["1"] * (abs(arity) - len(words))
        try:
            answer = admin("ACL", "DRYRUN", user, *words)
        except Refused as refused:
            answer = str(refused)
        answer = answer if isinstance(answer, str) else answer.decode()
        if answer == "OK":
            verdict = "may"
        elif "permissions to run" in answer:
            verdict = "may not"
        elif "channel" in answer:
            verdict = "may, on channels of its own:"
        elif "not found" in answer:
            verdict = "consists of its subcommands:"
        else:
            verdict = answer
        lines.append("%s %s" % (verdict, name.decode()))
    print("\n".join(sorted(lines)))
    return []


def categories():
    """Which commands this server has, by category."""
    admin = Admin()
    for name in sorted(admin("ACL", "CAT")):
        commands = sorted(c.decode() for c in admin("ACL", "CAT", name))
        print("%s: %s" % (name.decode(), " ".join(commands)))
    return []


def attack(mine, other):
    """Everything that must be refused; prints what was not."""
    me, n, b = Link(mine), Link(mine).number, Link(other).number
    name, victim = me.user, Link(other).user
    Link(other)("SET", "planted", "secret")
    attempts = [
        ["SELECT", b], ["SELECT", "0"], ["SELECT", "0" + b], ["SELECT", " " + b], ["SWAPDB", n, b],
        ["MOVE", "k", b], ["COPY", "k", "k", "DB", b], ["COPY", "k", "l"], ["FLUSHALL"], ["MONITOR"],
        ["CONFIG", "GET", "*"], ["CONFIG", "SET", "save", ""], ["DEBUG", "OBJECT", "k"], ["CLIENT", "LIST"],
        ["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "PAUSE", "1"], ["CLIENT", "NO-EVICT", "on"],
        ["CLIENT", "TRACKING", "on", "BCAST"], ["CLIENT", "UNBLOCK", "1"], ["SLOWLOG", "GET"],
        ["ACL", "LIST"], ["ACL", "SETUSER", name, "allcommands"], ["ACL", "GETUSER", victim], ["ACL", "SAVE"],
        ["ACL", "CAT"], ["SAVE"], ["BGSAVE"], ["BGREWRITEAOF"], ["SHUTDOWN"], ["REPLICAOF", "127.0.0.1", "1"],
        ["SLAVEOF", "127.0.0.1", "1"], ["MODULE", "LIST"], ["MODULE", "LOAD", "/tmp/x.so"],
        ["MIGRATE", "127.0.0.1", "6379", "k", b, "10"], ["RESTORE", "k", "0", "x"], ["SYNC"],
        ["PSYNC", "?", "-1"], ["FUNCTION", "LIST"], ["FUNCTION", "LOAD", "x"], ["FCALL", "f", "0"],
        ["SCRIPT", "FLUSH"], ["SCRIPT", "KILL"], ["SCRIPT", "DEBUG", "YES"], ["LATENCY", "RESET"],
        ["MEMORY", "DOCTOR"], ["MEMORY", "PURGE"], ["PUBSUB", "CHANNELS"], ["PUBSUB", "NUMSUB", "x"],
        ["PUBLISH", victim + ":x", "m"], ["SPUBLISH", victim + ":x", "m"], ["PUBLISH", "x", "m"],
        ["SUBSCRIBE", victim + ":x"], ["SSUBSCRIBE", victim + ":x"], ["PSUBSCRIBE", "*"],
        ["PSUBSCRIBE", victim + ":*"], ["PSUBSCRIBE", "__keyspace@%s__:*" % b],
        ["PSUBSCRIBE", "celery-task-meta-*"], ["SUBSCRIBE", "celery-task-meta-1"],
        ["CLUSTER", "INFO"], ["CLUSTER", "RESET"], ["FAILOVER"], ["READONLY"], ["READWRITE"], ["ASKING"],
        ["WAIT", "0", "1"], ["ROLE"], ["LASTSAVE"], ["SELECT", str(1 << 32)], ["PFDEBUG", "x", "k"],
        ["REPLCONF", "x", "y"], ["RESTORE-ASKING", "k", "0", "x"],
    ]
    scripts = [
        "return redis.call('select',%s)" % b, "return redis.call('swapdb',%s,%s)" % (n, b),
        "return redis.call('copy','k','k','DB',%s)" % b, "return redis.call('move','k',%s)" % b,
        "return redis.call('flushall')", "return redis.call('publish','%s:x','m')" % victim,
        "return redis.call('config','get','*')", "return redis.call('acl','list')",
        "return redis.setresp(3) or redis.call('select',%s)" % b, "return redis.call('client','list')",
    ]
    allowed = []
    for words in attempts:
        link = Link(mine)
        link("SET", "k", "v")
        try:
            answer = link(*words)
            allowed.append("%s: %r" % (" ".join(words), answer))
        except Refused as refused:
            # Two are closed to everybody in the server's own settings.
            if not re.match("NOPERM|ERR (DEBUG|MODULE) command not allowed", str(refused)):
                allowed.append("%s was refused for another reason: %s" % (" ".join(words), refused))
        # The same, in a transaction.
        link = Link(mine)
        link("MULTI")
        try:
            link(*words)
            answers = link("EXEC")
            if not all(isinstance(a, Refused) for a in answers or [Refused()]):
                allowed.append("MULTI %s: %r" % (" ".join(words), answers))
        except Refused:
            pass
    for script in scripts:
        for verb in ["EVAL", "EVAL_RO"]:
            try:
                allowed.append("%s: %r" % (script, Link(mine)(verb, script, "0")))
            except Refused as refused:
                if not re.search("NOPERM|ACL failure|can't run this command|can't publish|not allowed from script", str(refused)):
                    allowed.append("%s was refused for another reason: %s" % (script, refused))
    try:
        Link(mine.replace(me.password, me.password + "x"))
        allowed.append("a wrong password")
    except Refused:
        pass
    if Link(other)("GET", "planted") != b"secret":
        allowed.append("the other project's key is gone")
    # RESET makes it nobody, who may do nothing.
    link = Link(mine)
    link("RESET")
    try:
        allowed.append("after RESET: %r" % link("GET", "k"))
    except Refused:
        pass
    return allowed


def work(url):
    """Everything that must work; prints what did not."""
    broken = []
    link = Link(url)
    n, name = link.number, link.user

    def must(expected, *words):
        try:
            answer = link(*words)
            if expected is not Ellipsis and answer != expected:
                broken.append("%s: %r" % (" ".join(map(str, words)), answer))
        except Refused as refused:
            broken.append("%s: %s" % (" ".join(map(str, words)), refused))

    must("OK", "FLUSHDB")
    must("OK", "SET", "a", "1", "EX", "100")
    must(b"1", "GET", "a")
    must(2, "INCR", "a")
    must(1, "EXPIRE", "a", "50")
    must(1, "HSET", "h", "f", "v")
    must(1, "SADD", "s", "m")
    must(1, "ZADD", "z", "1", "m")
    must(1, "LPUSH", "l", "1")
    must([b"l", b"1"], "BRPOP", "l", "1")
    must(..., "XADD", "x", "*", "f", "v")
    must("OK", "XGROUP", "CREATE", "x", "g", "0")
    must(..., "XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")
    must(..., "SCAN", "0")
    must(..., "KEYS", "*")
    must(..., "SORT", "s", "ALPHA")
    must(..., "INFO")
    must(..., "DBSIZE")
    must(..., "CLIENT", "ID")
    must("OK", "CLIENT", "SETNAME", "app")
    must(name.encode(), "ACL", "WHOAMI")
    must(b"v", "EVAL", "return redis.call('hget',KEYS[1],'f')", "1", "h")
    must(..., "SCRIPT", "LOAD", "return 1")
    must(1, "EVALSHA", link("SCRIPT", "LOAD", "return 1"), "0")
    must("OK", "MULTI")
    must("QUEUED", "SET", "t", "1")
    must(["OK"], "EXEC")
    must("OK", "WATCH", "t")
    must(1, "UNLINK", "t")
    must(..., "COMMAND", "COUNT")
    must(..., "PUBLISH", name + ":news", "x")
    listener = Link(url)
    listener("SUBSCRIBE", name + ":news")
    must(1, "PUBLISH", name + ":news", "hello")
    if listener.read()[2] != b"hello":
        broken.append("a message on a channel of its own did not come")
    for pattern in [name + ":*", "/%s.*" % n, "/%s.celeryev/worker.*" % n, "__keyspace@%s__:*" % n]:
        try:
            Link(url)("PSUBSCRIBE", pattern)
        except Refused as refused:
            broken.append("PSUBSCRIBE %s: %s" % (pattern, refused))
    # A blocked reader, as a worker is one.
    got = []
    waiting = threading.Thread(target=lambda: got.append(Link(url)("BLPOP", "queue", "5")))
    waiting.start()
    time.sleep(0.2)
    must(1, "RPUSH", "queue", "job")
    waiting.join()
    if got != [[b"queue", b"job"]]:
        broken.append("BLPOP: %r" % got)
    must("OK", "FLUSHDB")
    return broken


def load(url, seconds):
    """New connections, one after the other, beside one that stays; how many failed."""
    end, done, failed = time.time() + float(seconds), 0, []
    stays = Link(url)
    while time.time() < end:
        try:
            Link(url)("SET", "load", done)
            stays("GET", "load")
            done += 1
        except Exception as error:
            failed.append(str(error))
    print(done)
    return failed


if __name__ == "__main__":
    found = {"attack": attack, "work": work, "load": load, "walk": walk, "categories": categories}[sys.argv[1]](*sys.argv[2:])
    print("\n".join(found), end="")
    sys.exit(1 if found else 0)
