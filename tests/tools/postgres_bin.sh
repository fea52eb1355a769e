#!/bin/sh
# Prints the folder of PostgreSQL's server programs: initdb on the PATH, else Debian's newest.
if found=$(command -v initdb); then
  found=$(readlink -f "$found")
else
  found=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
fi
[ -n "$found" ] && dirname "$found"
