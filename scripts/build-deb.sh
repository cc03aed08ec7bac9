#!/usr/bin/env bash
# Packs a built program as a .deb, and with `tarball` as a .tar.gz for machines without dpkg. Prints the file that it made.
#
#   scripts/build-deb.sh deb|tarball PROGRAM VERSION FOLDER
#
# A staged tree and dpkg-deb: there is nothing here for debhelper to do but call the same programs.
set -euo pipefail

kind=${1:?deb or tarball} program=$(realpath "${2:?the program}") version=${3:?the version} out=$(realpath "${4:?the folder for it}")
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
[[ $version =~ ^[0-9][0-9A-Za-z.+~]*$ ]] || { echo "build-deb: $version is no version: digits, letters, '.', '+' and '~'" >&2; exit 1; }
tree=$work/tree
put() { install -D -m "$1" "$2" "$tree/$3"; }

put 755 "$program" usr/bin/bluegreen
strip --strip-all --remove-section=.comment --remove-section=.note "$tree/usr/bin/bluegreen"
put 644 "$here/deploy/systemd/bluegreen.service" lib/systemd/system/bluegreen.service
put 644 "$here/deploy/deb/sysusers.conf" usr/lib/sysusers.d/bluegreen.conf
put 644 "$here/deploy/deb/tmpfiles.conf" usr/lib/tmpfiles.d/bluegreen.conf
config=etc/bluegreen/agent.yaml
if [ "$kind" = deb ]; then config=usr/share/bluegreen/agent.yaml; fi
put 644 "$here/deploy/deb/agent.yaml" $config
install -d -m 755 "$tree/etc/bluegreen/sites"
for shell in bash zsh fish; do "$program" completion $shell > "$work/$shell"; done
put 644 "$work/bash" usr/share/bash-completion/completions/bluegreen
put 644 "$work/zsh" usr/share/zsh/vendor-completions/_bluegreen
put 644 "$work/fish" usr/share/fish/vendor_completions.d/bluegreen.fish
install -d "$tree/usr/share/man/man1"
"$program" man "$tree/usr/share/man/man1"
gzip -9n "$tree"/usr/share/man/man1/*.1
if [ "$kind" = deb ]; then put 644 "$here/deploy/deb/copyright" usr/share/doc/bluegreen/copyright; else put 644 "$here/LICENSE" LICENSE; fi

if [ "$kind" = tarball ]; then
    name=bluegreen-$version-$(uname -m)
    put 644 "$here/docs/install-host.md" README.md
    mv "$tree" "$work/$name"
    tar -C "$work" --owner=0 --group=0 --sort=name -czf "$out/$name.tar.gz" "$name"
    echo "$out/$name.tar.gz"
    exit
fi

maintainer=$(sed -n 's/^Maintainer: //p' "$here/deploy/deb/control.in")
printf 'bluegreen (%s) stable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(git -C "$here" log -1 --format=%cD 2>/dev/null || date -R)" | gzip -9n > "$work/changelog.gz"
put 644 "$work/changelog.gz" usr/share/doc/bluegreen/changelog.gz
mkdir -p "$work/debian" "$tree/DEBIAN"
echo 'Source: bluegreen' > "$work/debian/control"
libs=$(cd "$work" && dpkg-shlibdeps -O "$tree/usr/bin/bluegreen" 2>/dev/null)
arch=$(dpkg --print-architecture)
size=$(du -sk --apparent-size "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/; s/@LIBS@/${libs#shlibs:Depends=}/" \
    "$here/deploy/deb/control.in" > "$tree/DEBIAN/control"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
for script in preinst postinst prerm postrm; do install -m 755 "$here/deploy/deb/$script" "$tree/DEBIAN/$script"; done
file=$out/bluegreen_${version}_$arch.deb
dpkg-deb --root-owner-group ${DEB_COMPRESSION:+-Z"$DEB_COMPRESSION" -z1} --build "$tree" "$file" >&2
echo "$file"
