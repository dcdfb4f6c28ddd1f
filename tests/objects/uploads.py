"""Uploads in parts that were begun and neither completed nor taken back, asked of the gateway."""

import re
import subprocess

from bulkaudio.object_url import ObjectUrl
from tests.objects import gateway

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def uploads_of(url: ObjectUrl) -> list[str]:
    """Return their keys below a prefix; obstore cannot ask for them, curl can."""
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", f"x-amz-content-sha256: {EMPTY}"]
    signed += ["--user", f"{gateway.KEY_ID}:{gateway.SECRET}"]
    done = subprocess.run(
        ["curl", "-s", "--fail-with-body", *signed, f"{gateway.ENDPOINT}/{url.bucket}?uploads="],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    keys = re.findall(r"<Key>([^<]*)</Key>", done.stdout)
    return [key for key in keys if key.startswith(f"{url.prefix}/")]
