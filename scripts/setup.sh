#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks. Says what it installs, starts no service, and does
# nothing at all when everything is there.
#
#   scripts/setup.sh          everything that the tests need
#   scripts/setup.sh demo     what the demo needs
#   scripts/setup.sh bench    what the benchmark needs
set -euo pipefail

what=${1:-test}
oldest_rust=1.95

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# A program that shows whether a package is there, and the package.
needed=(gcc:gcc make:make ld:binutils pkg-config:pkg-config curl:curl nginx:nginx-light useradd:passwd)
case $what in
demo) ;;
bench) needed+=(wrk:wrk) ;;
test)
    needed+=(debootstrap:debootstrap systemd-nspawn:systemd-container nft:nftables ip:iproute2 unshare:util-linux
        python3:python3)
    ;;
*) die "what is '$what'? One of: test, demo, bench" ;;
esac

# nginx and nft live in sbin, which an ordinary user's PATH leaves out.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# libc's headers are no program.
if [ ! -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then missing+=(ca-certificates); fi

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
        die "these are missing and there is no apt-get to install them with: ${missing[*]}"
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "become root, or install these: ${missing[*]}"
        root=(sudo)
    fi
    say "installing with apt: ${missing[*]}"
    # Packages start their service when they are installed, unless this says no (101). Ours run their own nginx.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        # shellcheck disable=SC2064
        trap "${root[*]} rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
        "${root[@]}" chmod 755 $policy
    fi
    quiet=(-qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    "${root[@]}" apt-get "${quiet[@]}" update >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${quiet[@]}" install -y --no-install-recommends \
        "${missing[@]}" >&2
fi

how="install it from https://rustup.rs (no root needed): curl --proto '=https' -sSf https://sh.rustup.rs | sh"
command -v cargo >/dev/null || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
command -v cargo >/dev/null || die "there is no cargo on PATH, and Debian's own is too old (Rust $oldest_rust is needed): $how"
rust=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n%s\n' "$oldest_rust" "${rust%%-*}" | sort -V | head -1)" = "$oldest_rust" ] ||
    die "Rust $oldest_rust is needed and $(command -v rustc) is $rust: run 'rustup update', or $how"
if [ "$what" = test ]; then
    for part in clippy fmt; do
        cargo $part --version >/dev/null 2>&1 ||
            die "cargo $part is missing: run 'rustup component add clippy rustfmt'"
    done
fi
