#!/usr/bin/env bash
# Writes what is made of other files of this repository, so that nobody writes a thing twice:
#
#   charts/bluegreen/files/                   the CustomResourceDefinition, for the chart
#   deploy/kustomize/base/bluegreen.yaml      the chart, as it is without Helm
#   deploy/argocd/argocd-cm.yaml              the Lua scripts, as Argo CD's settings
#
#   scripts/generate-install.sh          writes them
#   scripts/generate-install.sh FOLDER   writes them below FOLDER instead (the tests compare)
#
# Needs helm 3 or 4: that on PATH, else the one that scripts/cluster-tools.sh makes.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root}
mkdir -p "$out"
out=$(cd "$out" && pwd)

command -v helm >/dev/null || PATH=$("$root/scripts/cluster-tools.sh" helm):$PATH

# --- the chart's definition ------------------------------------------------------------------------------------------------------
crd=bluegreen.dev_bluegreensites.yaml
mkdir -p "$out/charts/bluegreen/files"
[ "$out" = "$root" ] || cp -R "$root/charts/bluegreen/." "$out/charts/bluegreen/"
cp "$root/crds/$crd" "$out/charts/bluegreen/files/$crd"

# --- without Helm ----------------------------------------------------------------------------------------------------------------
base=$out/deploy/kustomize/base
mkdir -p "$base"
{
    echo "# Generated from charts/bluegreen; \`scripts/generate-install.sh\` rewrites it."
    # What Helm says of itself is wrong here.
    helm template bluegreen "$out/charts/bluegreen" --namespace bluegreen-system |
        sed -e '/^# Source: /d' -e '/^ *helm\.sh\/chart: /d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d' \
            -e '/^  annotations:$/{N;/\n    helm\.sh\/resource-policy: keep$/d}' -e 's/[[:space:]]*$//'
} >"$base/bluegreen.yaml"

# --- Argo CD ---------------------------------------------------------------------------------------------------------------------
kind=bluegreen.dev_BlueGreenSite
scripts=$root/deploy/argocd/resource_customizations/bluegreen.dev/BlueGreenSite
# indent SPACES FILE: as a block of YAML; empty lines stay empty.
indent() { awk -v n="$1" '{ if ($0 == "") print ""; else printf "%*s%s\n", n, "", $0 }' "$2"; }
mkdir -p "$out/deploy/argocd"
{
    echo "# Generated from resource_customizations; \`scripts/generate-install.sh\` rewrites it. To be merged into the ConfigMap that is there:"
    echo "#   kubectl --namespace argocd patch configmap argocd-cm --patch-file argocd-cm.yaml"
    echo "apiVersion: v1"
    echo "kind: ConfigMap"
    echo "metadata:"
    echo "  name: argocd-cm"
    echo "  labels:"
    echo "    app.kubernetes.io/name: argocd-cm"
    echo "    app.kubernetes.io/part-of: argocd"
    echo "data:"
    cat <<END
  # Left out, and better so:
  #   resource.customizations.knownTypeFields.$kind: |
  #     - field: spec.target.cluster.template
  #       type: core/v1/PodTemplateSpec
  # A template is kept as Git has it, so there is nothing to normalise. And with RespectIgnoreDifferences, which application.yaml sets, Argo CD (seen
  # with 3.2) then takes the containers from the cluster instead of from Git: it says that it synchronised an upgrade, and has changed nothing.
END
    echo "  resource.customizations.health.$kind: |"
    indent 4 "$scripts/health.lua"
    echo "  resource.customizations.actions.$kind: |"
    echo "    discovery.lua: |"
    indent 6 "$scripts/actions/discovery.lua"
    echo "    definitions:"
    for action in approve abort retry rollback pause resume restart; do
        echo "    - name: $action"
        echo "      action.lua: |"
        indent 8 "$scripts/actions/$action/action.lua"
    done
} >"$out/deploy/argocd/argocd-cm.yaml"
