#!/usr/bin/env bash
# Starts a real etcd and kube-apiserver on loopback for tests, with the accounts of seed.yaml in it.
#
#   eval "$(tests/kube/up.sh)"          prints `export NAME='value'` lines on stdout, all else on stderr
#   tests/kube/up.sh --build-only       only makes sure that the programs are there
#
# --dir DIR   where the state goes (default $KUBE_RIG_DIR or $TMPDIR/strongroom-kube); rigs with different DIRs run side by side.
# Needs Debian and root for packages that are missing, and Go >= 1.24 for the first build (7 minutes on two cores, kept in the
# cache afterwards). Ports are free ones.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/kube/lib.sh
. "$here/lib.sh"

build_only=0
while [ $# -gt 0 ]; do
  case "$1" in
    --dir) dir="$2"; shift 2 ;;
    --build-only) build_only=1; shift ;;
    *) die "unknown argument: $1" ;;
  esac
done

install_packages() {
  local missing=() pair
  for pair in etcd:etcd-server openssl:openssl curl:curl python3:python3; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  log "installing ${missing[*]}"
  # RUNLEVEL=1 keeps the package from starting a service of its own.
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2 ||
    die "could not install ${missing[*]}"
  command -v etcd >/dev/null || die "etcd is still missing"
}

build() {
  local version="$1" bin="$2" minor name pkg=k8s.io/component-base/version
  [ -x "$bin/kube-apiserver" ] && [ -x "$bin/kubectl" ] && return
  command -v go >/dev/null || die "needs Go >= 1.24 to build kube-apiserver $version"
  mkdir -p "$bin"
  exec 9>"$bin/../lock"
  flock 9 # two rigs may start at once
  minor="${version#v1.}" minor="${minor%%.*}"
  for name in kube-apiserver kubectl; do
    [ -x "$bin/$name" ] && continue
    log "building $name $version (once) into $bin"
    (cd "$here" && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" go build -p "${KUBE_RIG_BUILD_JOBS:-2}" -trimpath \
      -ldflags "-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=$minor -X $pkg.gitTreeState=clean" \
      -o "$bin/$name.part" "k8s.io/kubernetes/cmd/$name") >&2 || die "could not build $name"
    mv "$bin/$name.part" "$bin/$name"
  done
  exec 9>&-
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1" 2>/dev/null; }

issue() { # name, subject, extensions
  new_key "$pki/$1.key"
  openssl req -new -key "$pki/$1.key" -subj "$2" -out "$pki/$1.csr" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -sha256 \
    -extfile <(printf '%b' "$3") -out "$pki/$1.crt" 2>/dev/null
  rm "$pki/$1.csr"
}

certificates() {
  local usage="keyUsage=critical,digitalSignature\nextendedKeyUsage="
  new_key "$pki/ca.key"
  openssl req -x509 -new -key "$pki/ca.key" -subj /CN=strongroom-kube-ca -days 30 -sha256 \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$pki/ca.crt" 2>/dev/null
  issue apiserver /CN=kube-apiserver \
    "${usage}serverAuth\nsubjectAltName=IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
  issue admin /O=system:masters/CN=admin "${usage}clientAuth"
  openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
}

start_etcd() { # client port, peer port
  local client="http://127.0.0.1:$1" peer="http://127.0.0.1:$2"
  setsid etcd --name rig --data-dir "$dir/etcd" --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "rig=$peer" --unsafe-no-fsync \
    >"$dir/etcd.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/etcd.pid"
  wait_for etcd curl -fs --noproxy '*' --max-time 2 "$client/health"
}

start_apiserver() { # program, port, etcd's client port
  setsid "$1" --etcd-servers="http://127.0.0.1:$3" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$2" \
    --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-issuer="$issuer" --service-account-signing-key-file="$pki/sa.key" --service-account-key-file="$pki/sa.pub" \
    --authorization-mode=Node,RBAC --allow-privileged=true --profiling=false \
    --enable-admission-plugins=NamespaceLifecycle,ServiceAccount,MutatingAdmissionWebhook,ValidatingAdmissionWebhook \
    >"$dir/kube-apiserver.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/kube-apiserver.pid"
  wait_for kube-apiserver k get --raw=/readyz
}

wait_for() { # program, command that succeeds when it is ready
  local name="$1" i
  shift
  for i in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    running "$name" || break
    sleep 0.2
  done
  tail -30 "$dir/$name.log" >&2
  die "$name did not become ready; its log is $dir/$name.log"
}

k() { "$bin/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

version="$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" {print $3} $1 == "k8s.io/kubernetes" && $2 ~ /^v/ {print $2}' "$here/go.mod" | head -1)"
bin="${XDG_CACHE_HOME:-$HOME/.cache}/kube-rig/$version/bin"
build "$version" "$bin"
install_packages
if [ "$build_only" = 1 ]; then
  log "ready: $bin"
  exit
fi

for name in etcd kube-apiserver; do running "$name" && die "already running in $dir; stop it with down.sh"; done
if [ -d "$dir" ] && [ -n "$(ls -A "$dir")" ] && [ ! -f "$dir/$marker" ]; then die "$dir is not empty and no rig's"; fi
umask 077
rm -rf "$dir"
mkdir -p "$dir/pki" "$dir/etcd"
touch "$dir/$marker"
dir="$(cd "$dir" && pwd)" pki="$dir/pki" issuer=https://kubernetes.default.svc.cluster.local
certificates
etcd_port="$(free_port)" peer_port="$(free_port)" api_port="$(free_port)"
api="https://127.0.0.1:$api_port"
cat >"$dir/kubeconfig" <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: rig, cluster: {server: "$api", certificate-authority: "$pki/ca.crt"}}]
users: [{name: admin, user: {client-certificate: "$pki/admin.crt", client-key: "$pki/admin.key"}}]
contexts: [{name: rig, context: {cluster: rig, user: admin}}]
current-context: rig
KUBECONFIG
start_etcd "$etcd_port" "$peer_port"
start_apiserver "$bin/kube-apiserver" "$api_port" "$etcd_port"
k apply -f "$here/seed.yaml" >&2
k -n vault create token vault-auth --duration=24h >"$dir/reviewer.jwt"

cat <<EXPORTS
export KUBE_RIG_DIR='$dir'
export KUBECONFIG='$dir/kubeconfig'
export KUBECTL='$bin/kubectl'
export KUBE_API='$api'
export KUBE_CA='$pki/ca.crt'
export KUBE_ISSUER='$issuer'
export KUBE_SA_PUB='$pki/sa.pub'
export KUBE_REVIEWER_JWT_FILE='$dir/reviewer.jwt'
export KUBE_MINT='$here/mint.sh'
EXPORTS
log "up: $api"
