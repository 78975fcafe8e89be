#!/usr/bin/env bash
# Signs a service account token with the rig's own key and times and claims of your choice, for what the TokenRequest API does
# not give: expired, early, foreign and secret-based tokens.
#
#   mint.sh NAMESPACE ACCOUNT [exp=SECONDS_FROM_NOW] [nbf=SECONDS] [iat=SECONDS] [aud=A,B] [iss=URL] [uid=UID] [key=PEM] [legacy=1]
#
# key=new signs with a key made for the occasion. legacy=1 gives a token without times or audience and makes the secret it belongs to.
set -euo pipefail
: "${KUBECTL:?run up.sh first}" "${KUBE_RIG_DIR:?}" "${KUBE_ISSUER:?}"
namespace="$1" account="$2"
shift 2
exp=3600 nbf=0 iat=0 aud="$KUBE_ISSUER" iss="$KUBE_ISSUER" uid='' key="$KUBE_RIG_DIR/pki/sa.key" legacy=0
for pair in "$@"; do
  case "$pair" in
    exp=* | nbf=* | iat=* | aud=* | iss=* | uid=* | key=* | legacy=*) declare "${pair%%=*}=${pair#*=}" ;;
    *) echo "unknown argument: $pair" >&2; exit 2 ;;
  esac
done
[ -n "$uid" ] || uid="$("$KUBECTL" -n "$namespace" get sa "$account" -o jsonpath='{.metadata.uid}')"
if [ "$key" = new ]; then
  key="$(mktemp)"
  trap 'rm -f "$key"' EXIT
  openssl genrsa -out "$key" 2048 2>/dev/null
fi

b64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
claims() {
  python3 - "$namespace" "$account" "$uid" "$exp" "$nbf" "$iat" "$aud" "$iss" "$legacy" <<'PY'
import json, sys, time
namespace, account, uid, exp, nbf, iat, aud, iss, legacy = sys.argv[1:]
now = int(time.time())
sub = f"system:serviceaccount:{namespace}:{account}"
flat = "kubernetes.io/serviceaccount/"
if legacy == "1":
    doc = {"iss": "kubernetes/serviceaccount", flat + "namespace": namespace, flat + "secret.name": account + "-token",
           flat + "service-account.name": account, flat + "service-account.uid": uid, "sub": sub}
else:
    doc = {"aud": [a for a in aud.split(",") if a], "exp": now + int(exp), "iat": now + int(iat), "nbf": now + int(nbf), "iss": iss,
           "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}}, "sub": sub}
print(json.dumps(doc, separators=(",", ":")), end="")
PY
}

signed="$(printf '%s' '{"alg":"RS256","typ":"JWT"}' | b64url).$(claims | b64url)"
token="$signed.$(printf '%s' "$signed" | openssl dgst -sha256 -sign "$key" -binary | b64url)"
if [ "$legacy" = 1 ]; then
  "$KUBECTL" apply -f - >&2 <<SECRET
{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
 "metadata": {"name": "$account-token", "namespace": "$namespace", "annotations":
   {"kubernetes.io/service-account.name": "$account", "kubernetes.io/service-account.uid": "$uid"}},
 "stringData": {"token": "$token", "namespace": "$namespace"}}
SECRET
fi
printf '%s\n' "$token"
