"""Runs a command and kills something with SIGKILL after so many microseconds.

usage: python3 - MICROSECONDS VICTIM COMMAND...    VICTIM: `hostkit` for the command itself, or a unit

Ends well however the command ended; prints what it said.
"""

import subprocess
import sys
import time

patience, victim = int(sys.argv[1]) / 1e6, sys.argv[2]
child = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
time.sleep(patience)
if victim == "hostkit":
    child.kill()
else:
    # The unit may not run at this moment; then nothing was to be killed.
    subprocess.run(["systemctl", "kill", "--signal=KILL", victim], stderr=subprocess.DEVNULL)
said = child.communicate()[0]
print(said.decode(errors="replace"))
print(f"{victim} killed after {patience:.3f} s; the command ended with {child.returncode}")
