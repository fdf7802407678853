"""Runs a command and kills something with SIGKILL after so many microseconds.

usage: python3 - MICROSECONDS VICTIM COMMAND...    VICTIM: `hostkit` for the command itself, or a unit

Ends well however the command ended; prints what it said.
"""

import os
import signal
import subprocess
import sys
import time

patience, victim = int(sys.argv[1]) / 1e6, sys.argv[2]
child = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
time.sleep(patience)
if victim == "hostkit":
    child.kill()
else:
    shown = subprocess.run(["systemctl", "show", "-P", "MainPID", victim], stdout=subprocess.PIPE).stdout
    main = int(shown or 0)
    # The unit may not run at this moment; then there is nothing to be killed.
    if main > 1:
        with open(f"/proc/{main}/task/{main}/children") as children:
            # What holds nginx's ports are its workers, and nobody ends them for it in a container.
            all_of_it = [main, *map(int, children.read().split())]
        for process in all_of_it:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
said = child.communicate()[0]
print(said.decode(errors="replace"))
print(f"{victim} killed after {patience:.3f} s; the command ended with {child.returncode}")
