#!/bin/bash
# Fetch with several machines that SSH reaches, without anything installed that watches over them:
#
#   cluster-ssh.sh HOST... -- OPTIONS OF download
#   cluster-ssh.sh node1 node2 node3 -- --region uk --agent PROJECT-1 --csv ids.csv --out s3://acme-calls/polyai
#
# This machine keeps the ledger and the scheduler. Every machine, this one too, needs the same version
# of bulkaudio[cluster], the certificates of cluster-tls.sh in the same folder ($TLS), and the API key in
# the same file (--api-key-file or BULKAUDIO_API_KEY_FILE): no key travels from here.
set -eu
tls=${TLS:-$HOME/.config/bulkaudio/tls}
python=${PYTHON:-python3}
port=${PORT:-8786}
address=${ADDRESS:-$(hostname)}

hosts=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    hosts+=("$1")
    shift
done
if [ "${#hosts[@]}" -eq 0 ] || [ $# -lt 2 ]; then
    echo "usage: cluster-ssh.sh HOST... -- OPTIONS OF download" >&2
    exit 2
fi
shift

# Dask reads these, here and on the other machines: nobody without a certificate is listened to.
settings=(
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true"
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$tls/ca.pem"
)
for role in SCHEDULER WORKER CLIENT; do
    settings+=("DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$tls/cert.pem")
    settings+=("DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$tls/key.pem")
done
# A shard is suspected when ten workers died over it, and a frozen worker is given up after a minute.
settings+=(
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=10"
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=60s"
)
export "${settings[@]}"

# In groups of their own: Ctrl-C is for the run, which drains, and needs a scheduler for that.
set -m
"$python" -m dask scheduler --protocol tls --port "$port" --no-dashboard &
scheduler=$!
# Workers end by themselves when their scheduler is gone.
trap 'kill "$scheduler" 2>/dev/null || :' EXIT

for host in "${hosts[@]}"; do
    worker=(
        env "${settings[@]}" "$python" -m dask worker "tls://$address:$port" --nthreads 2
        --memory-limit 0 --no-nanny --no-dashboard --death-timeout 60
    )
    ssh -n -o BatchMode=yes "$host" "$(printf '%q ' "${worker[@]}")" &
done

stop=
trap 'stop=1' TERM INT
"$python" -m bulkaudio download --engine dask --scheduler "tls://$address:$port" "$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || :' TERM INT
[ -z "$stop" ] || kill -TERM "$run"
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do
    code=0
    wait "$run" || code=$?
done
exit "$code"
