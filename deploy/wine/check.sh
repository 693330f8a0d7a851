#!/bin/bash
# The unmodified MetaTrader5 package against the simulator's pipe, and the worker with it. Makes the
# rig in DIR where it is not yet. Where no rig can be made it says so, loudly, and ends with 0; with
# RIG_REQUIRED=1 that is a failure.
#   bash deploy/wine/check.sh DIR [PYTHON OF THE TEST ENVIRONMENT] [LOOK-UPS]
set -uo pipefail
cd "$(dirname "$0")/../.."
DIR=${1:?usage: check.sh DIR [PYTHON] [LOOK-UPS]}
PYTHON=${2:-python3}
LOOKUPS=${3:-500}

skip() {
  echo "!!!! SKIPPED: $1"
  echo "!!!! Nothing was checked on the real MetaTrader5 package."
  [ -z "${RIG_REQUIRED:-}" ]
  exit
}

took() {
  echo "==> $((SECONDS - began)) s: $1"
  began=$SECONDS
}

began=$SECONDS
mkdir -p "$DIR"
if [ ! -x "$DIR/winpy" ]; then
  bash deploy/wine/setup.sh "$DIR" >"$DIR/setup.log" 2>&1 || skip "no rig could be made; see $DIR/setup.log"
fi
took "the rig"
status=0
rm -rf "$DIR/whl"
{ "$PYTHON" -m pip wheel -q --no-deps -w "$DIR/whl" . && "$DIR/winpip" "$DIR"/whl/mt5relay-*.whl; } \
  >"$DIR/install.log" 2>&1 || skip "the project could not be installed there; see $DIR/install.log"
took "the project, installed there"
"$DIR/winpy" deploy/wine/real_package.py || status=1
took "real_package.py"
"$PYTHON" -m deploy.wine.worker_over_pipe "$DIR" --lookups "$LOOKUPS" || status=1
took "worker_over_pipe.py"
exit $status
