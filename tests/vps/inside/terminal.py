"""Runs a command that starts psql, on a terminal of its own, and says what psql's programs can reach.

usage: python3 - COMMAND...

Prints the name of the terminal, and then what a program that psql starts has: its own terminal, what it and
psql have open, and what comes of opening the terminal that the command was called on.
"""

import os
import pty
import re
import select
import sys
import time

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
heard = ""


def hear(pattern):
    global heard
    end = time.monotonic() + 20
    while not re.search(pattern, heard):
        if time.monotonic() > end:
            sys.exit(f"never heard {pattern} in {heard!r}")
        if select.select([terminal], [], [], 0.2)[0]:
            heard += os.read(terminal, 4096).decode(errors="replace")
    text, heard = heard, ""
    return text


hear("=>")
outer = os.readlink(f"/proc/{pid}/fd/0")
look = (
    "tty; readlink /proc/self/fd/* /proc/$PPID/fd/*; "
    f"(exec <>{outer}) 2>&1 || echo refused; (exec </dev/tty && tty </dev/tty); echo heard$((40+2))"
)
os.write(terminal, f"\\! {look}\n".encode())
said = hear("heard42")
print(f"outer {outer}")
# What was typed comes back as it was typed; what follows is what was answered.
print(said.split("heard$((40+2))")[-1])
os.write(terminal, b"\\q\n")
os.waitpid(pid, 0)
