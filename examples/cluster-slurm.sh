#!/bin/bash
# Fetch with the nodes of a Slurm cluster:
#
#   sbatch cluster-slurm.sh --region uk --agent PROJECT-1 --csv ids.csv --out s3://acme-calls/polyai
#
# The first node keeps the scheduler and the run, every node a worker. All of them see the same home:
# the certificates of cluster-tls.sh in $TLS, and the API key in the file BULKAUDIO_API_KEY_FILE. The
# ledger is kept in the first node's home, or where --state-dir says: it has to be a file system with locks.
#SBATCH --job-name=bulkaudio
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=1G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -eu
tls=${TLS:-$HOME/.config/bulkaudio/tls}
python=${PYTHON:-python3}
port=${PORT:-8786}
address=$(hostname)

export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
export DASK_DISTRIBUTED__COMM__TLS__CA_FILE="$tls/ca.pem"
for role in SCHEDULER WORKER CLIENT; do
    export "DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$tls/cert.pem"
    export "DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$tls/key.pem"
done
# A shard is suspected when ten workers died over it, and a frozen worker is given up after a minute.
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=10
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=60s

"$python" -m dask scheduler --protocol tls --port "$port" --no-dashboard &
scheduler=$!
trap 'kill "$scheduler" 2>/dev/null || :' EXIT

# A node that dies takes its own worker with it and nobody else's; the others end with their scheduler.
srun --kill-on-bad-exit=0 "$python" -m dask worker "tls://$address:$port" --nthreads 2 \
    --memory-limit 0 --no-nanny --no-dashboard --local-directory "${TMPDIR:-/tmp}" --death-timeout 60 &

# Two minutes before its time is over the job is told so, and the run drains: exit code 143.
stop=
trap 'stop=1' TERM
"$python" -m bulkaudio download --engine dask --scheduler "tls://$address:$port" "$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || :' TERM
[ -z "$stop" ] || kill -TERM "$run"
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do
    code=0
    wait "$run" || code=$?
done
exit "$code"
