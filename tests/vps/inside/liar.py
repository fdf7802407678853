"""Stands in the place of a Redis server and answers whatever it is asked.

usage: python3 liar.py SOCKET HOW     HOW: endless, silent, nothing, looking
"""

import os
import socket
import sys
import threading

path, how = sys.argv[1:]
if os.path.lexists(path):
    os.unlink(path)
ear = socket.socket(socket.AF_UNIX)
ear.bind(path)
ear.listen(1 if how == "nothing" else 64)


def answer(friend):
    try:
        friend.recv(65536)
        if how == "silent":
            friend.recv(65536)
            threading.Event().wait()
        friend.sendall(b"+OK\r\n")
        while True:
            asked = friend.recv(65536)
            if not asked:
                return
            while how == "endless":
                friend.sendall(b"$2000000000\r\n" + b"x" * 1000000)
            if b"proto-max" in asked:
                friend.sendall(b"*2\r\n$18\r\nproto-max-bulk-len\r\n$9\r\n536870912\r\n")
            elif b"SCAN" in asked:
                friend.sendall(b"*2\r\n$1\r\n7\r\n*0\r\n")
            else:
                friend.sendall(b"+OK\r\n")
    except OSError:
        pass


while how == "nothing":
    # Whoever comes waits in a row that is full.
    threading.Event().wait()
while True:
    threading.Thread(target=answer, args=(ear.accept()[0],), daemon=True).start()
