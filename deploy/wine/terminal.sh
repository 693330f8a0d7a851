#!/bin/bash
# A screen for the terminal, and the terminal on it.
#   terminal.sh install SETUP.exe   run the broker's installer, shown over VNC
#   terminal.sh show                the terminal, shown over VNC: log in once, set its options
#   terminal.sh run                 the terminal alone, as the worker needs it
#   terminal.sh start               the same in the background
# VNC listens on port 5900 and asks for the password in the file MT5RELAY_VNC_PASSWORD_FILE: publish
# it on the host's loopback only and tunnel to it, since VNC encrypts nothing.
set -euo pipefail
screen=${MT5RELAY_SCREEN:-:99}
export DISPLAY=$screen WINEPREFIX=${WINEPREFIX:-/opt/mt5/prefix} WINEARCH=win64
export WINEDLLOVERRIDES=${WINEDLLOVERRIDES:-mscoree,mshtml=} WINEDEBUG=${WINEDEBUG:--all}
program='C:\terminal\terminal64.exe'

make_screen() {
  if ! has_screen; then
    Xvfb "$screen" -screen 0 1280x800x24 -nolisten tcp &
    for _ in $(seq 50); do
      if has_screen; then return; fi
      sleep 0.1
    done
    echo "terminal.sh: no screen $screen" >&2
    exit 1
  fi
}

has_screen() {
  [ -e "/tmp/.X11-unix/X${screen#:}" ]
}

share_screen() {
  x11vnc -display "$screen" -rfbport 5900 -forever -quiet \
    -passwdfile "${MT5RELAY_VNC_PASSWORD_FILE:?a file with the password of VNC}" &
}

case ${1:-} in
  install)
    make_screen
    share_screen
    wine "${2:?the installer, e.g. /installer/mt5setup.exe}"
    ;;
  show)
    make_screen
    share_screen
    wine "$program"
    ;;
  run)
    make_screen
    exec wine "$program"
    ;;
  start)
    # Detached: it outlives a worker that is started again, as it does on a desktop.
    if [ -e "$WINEPREFIX/drive_c/terminal/terminal64.exe" ]; then
      setsid "$0" run </dev/null >/dev/null 2>&1 &
    else
      echo "terminal.sh: no $program yet; see deploy/README.md, 'Linux with Wine'" >&2
    fi
    ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
