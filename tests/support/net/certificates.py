"""Certificates made for the test that needs them, by the openssl program or by trustme."""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

try:
    import trustme
except ImportError:
    trustme = None  # type: ignore[assignment,unused-ignore] # asked for below


@functools.cache
def _files(name: str = "localhost") -> tuple[tempfile.TemporaryDirectory[str], Path, Path]:
    """A self-signed certificate for `name` with its key; they exist as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="ferroloop-certificate-")
    certificate, key = Path(folder.name) / "certificate.pem", Path(folder.name) / "key.pem"
    if trustme is not None:
        authority = trustme.CA()
        made = authority.issue_cert(name, "127.0.0.1")
        made.private_key_pem.write_to_path(str(key))
        made.cert_chain_pems[0].write_to_path(str(certificate))
        authority.cert_pem.write_to_path(str(Path(folder.name) / "authority.pem"))
    elif shutil.which("openssl"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
                *("-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        shutil.copy(certificate, Path(folder.name) / "authority.pem")
    else:
        folder.cleanup()
        pytest.skip("neither trustme nor the openssl program is there to make a certificate")
    return folder, certificate, key


def server_context(name: str = "localhost") -> ssl.SSLContext:
    """What a server presents itself with as `name`."""
    _, certificate, key = _files(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def client_context(*others: str) -> ssl.SSLContext:
    """What a client trusts that server with, and those of the other names."""
    context = ssl.create_default_context(cafile=str(certificate_files()[2]))
    for name in others:
        context.load_verify_locations(certificate_files(name)[2])
    return context


def client_identity(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Give the client that certificate too, and have the server trust it."""
    folder, certificate, key = _files()
    client.load_cert_chain(certificate, key)
    server.load_verify_locations(cafile=str(Path(folder.name) / "authority.pem"))


def certificate_files(name: str = "localhost") -> tuple[Path, Path, Path]:
    """The files of the server's certificate, its key, and the authority that clients trust."""
    folder, certificate, key = _files(name)
    return certificate, key, Path(folder.name) / "authority.pem"
