#!/bin/sh
# One throwaway PostgreSQL, on loopback. Reads a word a line from standard input, does it, and answers `done` or
# what went wrong. When standard input ends, however its holder did, the server and its folder go.
# Arguments: the folder of the server programs, a port, the password of the user `zengate`.
set -u
# An interrupt of the tests reaches this too, and nobody may be left to answer: the end of standard input follows.
trap '' INT TERM HUP PIPE
bin=$1 port=$2
folder=$(mktemp -d "${TMPDIR:-/tmp}/zengate-postgres.XXXXXX") || exit 1
printf '%s' "$3" >"$folder/password"
as=
if [ "$(id -u)" -eq 0 ]; then
  # The server refuses to run as root.
  as='setpriv --reuid=postgres --regid=postgres --init-groups --'
  chown -R postgres: "$folder"
fi
pid= family=

fail() { printf '%s\n' "$1: $(tail -n 3 "$folder/log" | tr '\n' ' ')"; }

# A process of its own serves each connection: they come and go until their parent is stopped.
pause() {
  kill -STOP "$pid"
  family="$pid $(pgrep -P "$pid" | tr '\n' ' ')"
  kill -STOP $family 2>/dev/null
}

alive() { grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }

gone() {
  tries=500
  while [ $tries -gt 0 ] && alive "$1"; do
    tries=$((tries - 1))
    sleep 0.01
  done
}

start() {
  $as "$bin/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=on -c recovery_init_sync_method=syncfs -c shared_buffers=16MB -c max_connections=200 </dev/null >>"$folder/log" 2>&1 &
  pid=$!
  tries=1500
  # The file of a server that was killed is still there.
  until [ "$(sed -n '1p;8p' "$folder/data/postmaster.pid" 2>/dev/null | tr -d ' ' | tr '\n' ' ')" = "$pid ready " ]; do
    tries=$((tries - 1))
    if [ $tries -eq 0 ] || ! alive "$pid"; then
      fail 'it does not start'
      return
    fi
    sleep 0.02
  done
  echo done
}

end() {
  [ -n "$pid" ] || return 0
  pause
  kill -KILL $family 2>/dev/null
  wait "$pid" 2>/dev/null
  # The next start refuses while one of them holds the shared memory.
  for each in $family; do gone "$each"; done
  pid=
}

if ! (cd "$folder" && $as "$bin/initdb" -D "$folder/data" --username=zengate --pwfile="$folder/password" \
  --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >"$folder/log" 2>&1 </dev/null); then
  fail 'initdb'
fi
cd "$folder"
while read -r word; do
  case $word in
  start) start ;;
  stop)
    # Fast: connections are ended, what was committed is written out.
    kill -INT "$pid"
    wait "$pid"
    pid=
    echo done
    ;;
  kill)
    end
    echo done
    ;;
  pause)
    pause
    echo done
    ;;
  resume)
    kill -CONT $family 2>/dev/null
    echo done
    ;;
  *) echo "no such word: $word" ;;
  esac
done
end
cd /
rm -rf "$folder"
