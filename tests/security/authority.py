"""A certificate authority of a test's own."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """A CA in a folder: ``ca``, its certificate, and others that it signs."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"CA {folder.name}")
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(_pem(self._signed(self._name, self._key, [], ca=True)))

    def pair(self, name: str, *hosts: str) -> Path:
        """A file with a key and its certificate, which is for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        path = self.folder / f"{name}.pem"
        path.write_bytes(private + _pem(self._signed(_name(name), key, list(hosts), ca=False)))
        return path

    def _signed(self, subject: x509.Name, key: Key, hosts: list[str], ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(hours=1))
            .not_valid_after(NOW + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        return builder.sign(self._key, hashes.SHA256())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
