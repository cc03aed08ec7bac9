#!/usr/bin/env bash
# Makes an nginx of a newer Debian than the machine's, once, and prints the path of a program that runs it. That Debian lies over /usr for this
# program alone, so that it has its own libraries, and all else is the machine's. Kept outside of the checkout; needs root.
#
#   scripts/newer-nginx.sh [SUITE]
set -euo pipefail

suite=${1:-trixie}
folder=${XDG_CACHE_HOME:-$HOME/.cache}/bluegreen/nginx-$suite

if [ ! -x "$folder/nginx" ]; then
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new"
    debootstrap --variant=minbase --include=nginx-light "$suite" "$folder.new/debian" >&2
    cat >"$folder.new/nginx" <<EOF
#!/bin/sh
exec unshare --mount --propagation slave sh -c 'mount --bind "\$0" /usr && exec /usr/sbin/nginx "\$@"' "$folder/debian/usr" "\$@"
EOF
    chmod 755 "$folder.new/nginx"
    mv "$folder.new" "$folder"
fi
"$folder/nginx" -v >&2
echo "$folder/nginx"
