"""Runs a command and kills it with SIGKILL after so many microseconds.

usage: python3 - MICROSECONDS COMMAND...    MICROSECONDS 0: let it finish

Prints "ended STATUS MICROSECONDS" or "killed 137 MICROSECONDS" as its last line. Only the process itself is
killed; what it started lives on, as after a real kill.
"""

import subprocess
import sys
import time

patience = int(sys.argv[1]) / 1e6
began = time.monotonic()
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
outcome = "ended"
if patience:
    # A sleep, and then a short busy wait: a sleep alone comes some hundred microseconds late.
    rest = patience - (time.monotonic() - began)
    if rest > 0.001:
        time.sleep(rest - 0.001)
    while time.monotonic() - began < patience:
        pass
    if child.poll() is None:
        child.kill()
        outcome = "killed"
status = child.wait()
if status == -9:
    outcome = "killed"
took = int((time.monotonic() - began) * 1e6)
print(f"\n{outcome} {status if status >= 0 else 128 - status} {took}", flush=True)
