"""Signs a request to S3 again, from which something was taken that was signed."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.objects import gateway


def signed_again(method: str, target: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return `headers`, names in lower case, with the signature of what they are now."""
    scheme, _, rest = headers["authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    names = [name for name in fields["SignedHeaders"].split(";") if name in headers]
    parts = urlsplit(target)
    canonical = "\n".join(
        [
            method,
            parts.path,
            "&".join(sorted(parts.query.split("&"))),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            headers["x-amz-content-sha256"],
        ]
    )
    scope = fields["Credential"].split("/", 1)[1]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{scheme}\n{headers['x-amz-date']}\n{scope}\n{digest}"
    key = f"AWS4{gateway.SECRET}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    fields |= {"SignedHeaders": ";".join(names), "Signature": key.hex()}
    told = ", ".join(f"{name}={text}" for name, text in fields.items())
    return {**headers, "authorization": f"{scheme} {told}"}
