#!/bin/bash
# Runs the worker and hands a TERM on as the end of its input: under Wine TERM would kill it at
# once. Settings come from the environment. Exit status: the worker's.
#   run-worker.sh [ARGUMENTS of `mt5relay-worker run`]
#   run-worker.sh --is-alive      0 where one runs and has not been asked to stop
# MT5RELAY_PYTHON: the Python that has mt5relay (default /opt/mt5/winpy)
# MT5RELAY_SCREEN: a display such as :99 to make for a terminal without a screen (default: none)
set -euo pipefail
python=${MT5RELAY_PYTHON:-/opt/mt5/winpy}
run=${MT5RELAY_RUN:-${TMPDIR:-/tmp}/mt5relay-run}

if [ "${1:-}" = --is-alive ]; then
  kill -0 "$(cat "$run/pid")"
  exit
fi

umask 077
mkdir -p "$run"
rm -f "$run/input" "$run/pid"
mkfifo "$run/input"

if [ -n "${MT5RELAY_SCREEN:-}" ]; then
  terminal.sh start
fi

# The worker's input ends when the last writer is gone: this shell, which opens it only now, so that
# the worker inherits no writer of its own.
"$python" -m mt5relay_worker run --stop-on-eof "$@" <"$run/input" &
worker=$!
exec 9>"$run/input"
echo "$worker" >"$run/pid"

# A trap ends `wait` early, with a status above 128.
trap 'rm -f "$run/pid"; exec 9>&-' TERM INT
status=0
while kill -0 "$worker" 2>/dev/null; do
  status=0
  wait "$worker" || status=$?
done
rm -rf "$run"
exit "$status"
