#!/bin/sh
# One throwaway Redis. Reads a word a line from standard input, does it, and answers `done`. When standard input ends,
# however its holder did, the server and its folder go.
# Arguments: the server program, then lines of its configuration.
set -u
# An interrupt of the tests reaches this too, and nobody may be left to answer: the end of standard input follows.
trap '' INT TERM HUP PIPE
server=$1
shift
folder=$(mktemp -d "${TMPDIR:-/tmp}/zengate-redis.XXXXXX") || exit 1
printf '%s\n' "dir $folder" 'bind 127.0.0.1' 'save ""' "$@" >"$folder/redis.conf"
pid=

end() {
  [ -n "$pid" ] || return 0
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null
  pid=
}

while read -r word; do
  case $word in
  start)
    "$server" "$folder/redis.conf" </dev/null >>"$folder/log" 2>&1 &
    pid=$!
    ;;
  sentinel)
    "$server" "$folder/redis.conf" --sentinel </dev/null >>"$folder/log" 2>&1 &
    pid=$!
    ;;
  kill) end ;;
  pause) kill -STOP "$pid" ;;
  resume) kill -CONT "$pid" ;;
  esac
  echo done
done
end
rm -rf "$folder"
