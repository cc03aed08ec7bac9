#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks. Says what it installs, starts no service, and does
# nothing at all when everything is there.
#
#   scripts/setup.sh          everything that the tests need
#   scripts/setup.sh demo     what the demo needs
#   scripts/setup.sh bench    what the benchmark needs
#   scripts/setup.sh cluster  what a control plane of one's own needs
#   scripts/setup.sh node     what a node of one's own needs besides
set -euo pipefail

what=${1:-test}
oldest_rust=1.95
# From here on Go fetches by itself, as a module, the version that a go.mod asks for.
oldest_go=1.21

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

# A program that shows whether a package is there, and the package.
needed=(gcc:gcc make:make ld:binutils pkg-config:pkg-config curl:curl)
# The programs of a cluster are built with Go.
cluster=(openssl:openssl setpriv:util-linux flock:util-linux go:golang-go)
case $what in
demo) needed+=(nginx:nginx-light useradd:passwd) ;;
bench) needed+=(nginx:nginx-light apache2:apache2 useradd:passwd wrk:wrk) ;;
cluster) needed+=("${cluster[@]}") ;;
node)
    needed+=("${cluster[@]}" runc:runc conntrack:conntrack nft:nftables iptables:iptables ip:iproute2 nsenter:util-linux
        ps:procps)
    ;;
test)
    needed+=(nginx:nginx-light apache2:apache2 useradd:passwd debootstrap:debootstrap systemd-nspawn:systemd-container nft:nftables
        ip:iproute2 unshare:util-linux python3:python3 javac:default-jdk-headless mvn:maven
        fcgiwrap:fcgiwrap spawn-fcgi:spawn-fcgi php-fpm8.2:php8.2-fpm /usr/bin/node:nodejs
        dpkg-shlibdeps:dpkg-dev iptables:iptables ufw:ufw redis-server:redis-server sshd:openssh-server git:git faketime:faketime "${cluster[@]}")
    ;;
*) die "what is '$what'? One of: test, demo, bench, cluster, node" ;;
esac

# nginx and nft live in sbin, which an ordinary user's PATH leaves out; Go's own archive is unpacked into /usr/local.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin

missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# libc's headers are no program.
if [ ! -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi
# Tomcat's own programs are nowhere on PATH.
if [ "$what" = test ] && [ ! -e /usr/share/tomcat10/bin/bootstrap.jar ]; then missing+=(tomcat10); fi
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then missing+=(ca-certificates); fi

# Python's environments are a module, which Debian packs apart.
if [ "$what" = test ] && ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then missing+=(python3-venv); fi

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
        die "these are missing and there is no apt-get to install them with: ${missing[*]}"
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "become root, or install these: ${missing[*]}"
        root=(sudo)
    fi
    say "installing with apt: ${missing[*]}"
    # Packages start their service when they are installed, unless this says no (101). Ours run their own web servers.
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
at_least "$oldest_rust" "${rust%%-*}" ||
    die "Rust $oldest_rust is needed and $(command -v rustc) is $rust: run 'rustup update', or $how"
if [ "$what" = test ]; then
    for part in clippy fmt; do
        cargo $part --version >/dev/null 2>&1 ||
            die "cargo $part is missing: run 'rustup component add clippy rustfmt'"
    done
fi
case $what in test | cluster | node)
    how="unpack a newer one from https://go.dev/dl into /usr/local"
    go=$(go env GOVERSION)
    at_least "$oldest_go" "${go#go}" || die "Go $oldest_go is needed and $(command -v go) is ${go:-older}: $how"
    ;;
esac
