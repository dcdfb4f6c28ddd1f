"""What obstore cannot ask a gateway for, asked by curl."""

import re
import subprocess

from bulkaudio.object_url import ObjectUrl
from tests.objects import gateway


def asked_by_curl(method: str, target: str) -> str:
    """Ask for something in the gateway's bucket; returns the answer."""
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    signed += ["--user", f"{gateway.KEY_ID}:{gateway.SECRET}", "--path-as-is", "-X", method]
    signed += ["--data-binary", ""] if method == "PUT" else []
    address = f"{gateway.ENDPOINT}/{gateway.BUCKET}/{target}"
    done = subprocess.run(
        ["curl", "-s", "--fail-with-body", *signed, address],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def uploads_of(url: ObjectUrl) -> list[str]:
    """Return the keys of uploads in parts that were begun and neither completed nor taken back."""
    keys = re.findall(r"<Key>([^<]*)</Key>", asked_by_curl("GET", "?uploads="))
    return [key for key in keys if key.startswith(f"{url.prefix}/")]
