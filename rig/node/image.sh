#!/usr/bin/env bash
# Packs a static program as an image of one file, as `podman save` would write it.
#
#   image.sh ARCHIVE NAME:TAG PROGRAM [UID]
set -euo pipefail
archive=$(readlink -m "$1") name=$2 program=$(readlink -f "$3") user=${4:-0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p root/tmp
install -m 755 "$program" "root/$(basename "$program")"
chmod 1777 root/tmp
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --file layer.tar --directory root .
layer=$(sha256sum layer.tar | cut -d' ' -f1)
arch=$(uname -m)
case $arch in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac
cat >config.json <<JSON
{ "architecture": "$arch", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ["sha256:$layer"] },
  "config": { "Entrypoint": ["/$(basename "$program")"], "Env": ["PATH=/"], "WorkingDir": "/", "User": "$user" } }
JSON
config=$(sha256sum config.json | cut -d' ' -f1).json
mv config.json "$config"
echo "[{ \"Config\": \"$config\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"] }]" >manifest.json
tar --create --file "$archive" manifest.json "$config" layer.tar
