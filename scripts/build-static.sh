#!/usr/bin/env bash
# Builds a program that needs nothing but the kernel, for an image that holds nothing else, and prints where it is. The Containerfile and the
# tests on a real node both call this, so that what is tested is what is shipped.
#
#   scripts/build-static.sh                  bluegreen, as it is shipped
#   scripts/build-static.sh PROGRAM PROFILE  another one: rig-app, and `dev` where a quick build is worth more than a small program
#
# With the C library of the machine that builds: any Debian has glibc's archives, musl's would need another toolchain. What glibc loads at run
# time even so, name services, it finds built in since 2.34: files and DNS.
set -euo pipefail
program=${1:-bluegreen}
profile=${2:-dist}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case $program in
rig-*) package=bluegreen-rig ;;
*) package=bluegreen ;;
esac
cargo=${CARGO:-cargo}
target=$(rustc --version --verbose | sed -n 's/^host: //p')
# With a target that is named, the flags are none of build scripts and macros, which no loader could load.
RUSTFLAGS='-C target-feature=+crt-static' "$cargo" build --quiet --locked --profile "$profile" --package "$package" --bin "$program" \
    --target "$target" --target-dir target/static >&2
built=$PWD/target/static/$target/${profile/#dev/debug}/$program
# It would start nowhere in an empty image.
if readelf --program-headers "$built" | grep -q INTERP; then
    echo "build-static: $built wants a loader" >&2
    exit 1
fi
echo "$built"
