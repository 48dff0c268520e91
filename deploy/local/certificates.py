"""Certificates for servers with TLS, made anew by an authority of our own that lives as long as the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from deploy.local import ports

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority's certificate, a server's certificate, its key, and the latter two in one file."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    keystore_file: Path


def make(directory: Path, *names: str) -> Certificates:
    """An authority and a server's certificate for `names`, by default the loopback address and no other name of it."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or (ports.HOST,)))
    files = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key", directory / "keystore.pem")
    authority.cert_pem.write_to_path(str(files.ca_file))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    # Java reads keys in PKCS#8 only.
    key = load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for file, content in ((files.cert_file, chain), (files.key_file, key), (files.keystore_file, key + chain)):
        file.touch(mode=0o600)
        file.write_bytes(content)
    return files
