#!/bin/sh
# Nightly archive of yesterday's calls, for cron:
#
#   15 3 * * *  BULKAUDIO_API_KEY_FILE=/etc/bulkaudio/polyai.key  /opt/bulkaudio/nightly.sh /data/calls
#
# The archive remembers region, account, agent and filters from its first run, which was made by
# hand with --since. Silent on success, so that mail from cron means work for a person.
set -u
archive=${1:?usage: nightly.sh ARCHIVE}
python=${PYTHON:-python3}

"$python" -m bulkaudio download --out "$archive" --quiet --max-duration 5h \
    --summary-file "$archive/last-run.json"
code=$?

case $code in
0) ;;
8) echo "five hours were not enough; the next night goes on" ;;
75) echo "the run of an earlier night is still going on" ;;
3) echo "some recordings failed: see failures in $archive/last-run.json; the next night tries again" ;;
*) echo "download ended with $code: see above" ;;
esac
exit $code
