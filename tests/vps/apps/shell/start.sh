#!/bin/sh
exec python3 -m http.server --bind "$HOST" --directory pages "$PORT"
