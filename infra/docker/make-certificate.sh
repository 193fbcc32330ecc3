#!/bin/sh
# A certificate that signs itself, for a first start where nobody has one yet: clients have to be told
# to trust it. One that is there is left alone.
#
#   make-certificate DIRECTORY [NAME...]    writes DIRECTORY/tls.crt and tls.key; localhost is in it
set -eu

directory=$1
shift
test -s "$directory/tls.crt" && test -s "$directory/tls.key" && exit 0

names="DNS:localhost,IP:127.0.0.1,IP:::1"
for name in "$@"; do
    names="$names,DNS:$name"
done
# The key is for its owner only; the certificate comes last, so that a pair is complete or missing.
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj "/CN=localhost" -addext "subjectAltName=$names" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "extendedKeyUsage=serverAuth" \
    -keyout "$directory/tls.key" -out "$directory/tls.crt.new" 2>/dev/null
mv "$directory/tls.crt.new" "$directory/tls.crt"
