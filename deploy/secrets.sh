#!/usr/bin/env bash
# Makes a token, an authority and a certificate for workers under the given names, for trying a cluster out.
#
#     deploy/secrets.sh FOLDER NAME...
#
# FOLDER gets what workers and coordinators need. The authority's key lies in FOLDER.authority: keep it elsewhere.
# Needs openssl. An organisation has an authority of its own; then only the token is needed from here.
set -euo pipefail
[ $# -ge 2 ] || { grep '^#  ' "$0" >&2; exit 2; }
folder=$1; shift
umask 077
mkdir -p "$folder" "$folder.authority"
authority=$(realpath "$folder.authority"); cd "$folder"
names=$(printf 'DNS:%s,' "$@")
[ -e token ] || head -c 32 /dev/urandom | base64 >token
[ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=dismax authority" \
    -addext "keyUsage=critical,keyCertSign" -keyout "$authority/key.pem" -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=dismax worker" -keyout key.pem -out worker.csr 2>/dev/null
openssl x509 -req -in worker.csr -CA ca.pem -CAkey "$authority/key.pem" -CAserial "$authority/serial" -CAcreateserial -days 365 -out cert.pem \
    -extfile <(printf 'subjectAltName=%sIP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$names") 2>/dev/null
rm -f worker.csr
# Read by the containers' user.
chmod 755 . && chmod 644 token cert.pem key.pem ca.pem
