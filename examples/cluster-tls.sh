#!/bin/sh
# Certificates for a Dask cluster of your own: a private authority, and one certificate for scheduler,
# workers and the run. Whoever has key.pem may run anything on every worker.
#
#   cluster-tls.sh FOLDER [DAYS]
#
# Makes FOLDER/ca.pem, FOLDER/cert.pem and FOLDER/key.pem; the authority's own key is not kept.
set -eu
folder=${1:?usage: cluster-tls.sh FOLDER [DAYS]}
days=${2:-365}

umask 077
mkdir -p "$folder"
cd "$folder"
if [ -e key.pem ]; then
    echo "$folder/key.pem is there already: remove it, to make another" >&2
    exit 1
fi
trap 'rm -f authority.pem request.pem' EXIT
openssl req -x509 -newkey rsa:3072 -nodes -days "$days" -subj "/CN=bulkaudio cluster authority" \
    -keyout authority.pem -out ca.pem 2>/dev/null
openssl req -newkey rsa:3072 -nodes -subj "/CN=bulkaudio cluster" \
    -keyout key.pem -out request.pem 2>/dev/null
openssl x509 -req -in request.pem -days "$days" -CA ca.pem -CAkey authority.pem \
    -set_serial "0x$(openssl rand -hex 8)" -out cert.pem 2>/dev/null
