#!/usr/bin/env bash
# Ask mt5relay with redis-cli alone: an entry on the stream, then a look at the durable reply.
#
#   ./redis-cli.sh ask ACCOUNT OPERATION [ARGUMENTS [TIMEOUT_MS [ID]]]
#   ./redis-cli.sh snapshot ACCOUNT | health | events [COUNT]
#
# REDIS_URL, MT5_TERMINAL_ID and MT5_KEY_PREFIX as everywhere. The reply is printed as it came; the
# exit status is 0 for an answer and 1 for an error. Words are spelled into JSON without being
# escaped, so let nobody else choose them. Needs redis-cli 7.
set -euo pipefail

tag="{${MT5_KEY_PREFIX:-mt5}:${MT5_TERMINAL_ID:-main}}"
url=${REDIS_URL:-redis://127.0.0.1:6379/0}
user=()
if [[ $url =~ ^([a-z]+://)([^:@/]*):([^@/]*)@(.*)$ ]]; then # others can see a program's arguments
  export REDISCLI_AUTH=${BASH_REMATCH[3]}
  user=(--user "${BASH_REMATCH[2]:-default}")
  url=${BASH_REMATCH[1]}${BASH_REMATCH[4]}
fi
redis() { redis-cli -e --raw -u "$url" ${user[@]+"${user[@]}"} "$@"; }

fail() { # code, message, retryable
  printf '{"status":"error","error":{"code":"%s","message":"%s","retryable":%s}}\n' "$1" "$2" "$3"
  exit 1
}

ask() {
  local account=$1 operation=$2 arguments=${3:-'{}'} timeout_ms=${4:-10000} reply
  local id=${5:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
  local give_up=$((SECONDS + timeout_ms / 1000 + 2))
  # Asked before with this id? Then this is the answer; nothing is asked twice.
  reply=$(redis GET "$tag:reply:$id") || fail REDIS_UNAVAILABLE "Redis can't be asked" true
  if [ -z "$reply" ]; then
    redis XADD "$tag:requests" '*' request "{\"v\":1,\"id\":\"$id\",\"account\":\"$account\",\
\"operation\":\"$operation\",\"arguments\":$arguments,\"timeout_ms\":$timeout_ms}" >/dev/null ||
      fail REDIS_UNAVAILABLE "Redis did not take the request" true
  fi
  while [ -z "$reply" ]; do
    [ "$SECONDS" -lt "$give_up" ] ||
      fail DEADLINE_EXCEEDED "no reply; the same id may be asked again" true
    sleep 0.1
    reply=$(redis GET "$tag:reply:$id") || reply= # it may be back in a moment
  done
  case $reply in
    *"\"account\":\"$account\",\"operation\":\"$operation\""*) ;;
    *) fail VALIDATION_FAILED "id: another question has it" false ;;
  esac
  printf '%s\n' "$reply"
  case $reply in '{"status":"ok"'*) ;; *) exit 1 ;; esac
}

case ${1:-} in
  ask) ask "${@:2}" ;;
  snapshot) redis HMGET "$tag:snapshot:$2" as_of synchronized data ;;
  health) redis HGETALL "$tag:health" ;; # nothing: no worker lives
  events) redis XREVRANGE "$tag:events" + - COUNT "${2:-10}" ;;
  *) sed -n '4,5s/^# *//p' "$0" >&2 && exit 2 ;;
esac
