"""What Azure's own tools read besides the variables that obstore knows."""

from collections.abc import Mapping

from bulkaudio.errors import BucketAuthError

_OF_CLI = {
    "AZURE_STORAGE_ACCOUNT": "account_name",
    "AZURE_STORAGE_KEY": "account_key",
    "AZURE_STORAGE_SAS_TOKEN": "sas_key",
}

_OF_CONNECTION = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_key",
    "blobendpoint": "endpoint",
}

EMULATOR = {
    "account_name": "devstoreaccount1",
    # Not a secret: every emulator has it, and the vendor's documentation prints it.
    "account_key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "endpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


def read_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be told to obstore; raises `BucketAuthError` for a broken connection string."""
    text = environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if text:
        return _of_connection(text)
    found = {word: environ[name] for name, word in _OF_CLI.items() if environ.get(name)}
    if environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in {"1", "true"}:
        return EMULATOR | found
    return found


def _of_connection(text: str) -> dict[str, str]:
    parts = {
        name.strip().lower(): value.strip()
        for name, _, value in (part.partition("=") for part in text.split(";") if part.strip())
    }
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return dict(EMULATOR)
    found = {word: parts[name] for name, word in _OF_CONNECTION.items() if parts.get(name)}
    if "endpoint" not in found and "account_name" in found:
        scheme = parts.get("defaultendpointsprotocol", "https")
        suffix = parts.get("endpointsuffix", "core.windows.net")
        found["endpoint"] = f"{scheme}://{found['account_name']}.blob.{suffix}"
    if "account_name" not in found:
        # One with a signature names the account in its endpoint only.
        host = found.get("endpoint", "").partition("://")[2]
        found["account_name"] = host.partition(".")[0]
    if not found["account_name"]:
        raise BucketAuthError(
            "the variable AZURE_STORAGE_CONNECTION_STRING names no account",
            fix="copy it from the portal again: AccountName=…;AccountKey=…",
        )
    return found
