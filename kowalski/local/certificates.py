"""./kowalski.py certificates: what dask's processes on several machines prove to each other that they belong together by.

One certificate authority (CA) for one installation, and one certificate with its key for all its machines: who has the pair may
run code on the workers, who has not is refused.
"""

import argparse
import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kowalski.alerts.survey import enabled_surveys
from kowalski.config import ROOT, load_config
from kowalski.errors import LocalError
from kowalski.local.secrets import write_private
from kowalski.settings import dask_section

CA, CA_KEY, CERT, KEY = "ca.crt", "ca.key", "dask.crt", "dask.key"
#: days that a CA holds at least: as it is on every machine, it is to be renewed rarely
CA_DAYS = 3650
DAYS = 730
#: clocks of machines may differ by as much
EARLIER = datetime.timedelta(hours=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "certificates", metavar="DIR", help="where to")
    parser.add_argument(
        "--days", type=_days, default=DAYS, metavar="N", help=f"how long the certificate holds ({DAYS})"
    )
    parser.add_argument("--renew", action="store_true", help="replace the certificate and its key; the CA stays")


def run(arguments: argparse.Namespace) -> int:
    """Make the files and say what to do with them."""
    folder: Path = arguments.out.resolve()
    new_ca = make(folder, arguments.days, arguments.renew)
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    print(f"made in {shown}: {CERT} and {KEY}, which hold for {arguments.days} days", end="")
    print(f", and their CA, {CA} and {CA_KEY}" if new_ca else f"; the CA, {CA}, is the one that was there")
    print(f"Copy {CA}, {CERT} and {KEY} to every machine, by a way that nobody else can read; {CA_KEY} stays here.")
    print(f"In config.yaml of each, with the scheduler's address:\n\n{settings_text(shown)}")
    return 0


def make(folder: Path, days: int, renew: bool = False) -> bool:
    """A folder has a CA and a certificate of it with its key; whether the CA is new.

    Parameters
    ----------
    renew : replace the certificate and its key, and a CA that ends before them

    Raises
    ------
    LocalError : something is there already and ``renew`` was not asked for
    """
    there = [name for name in (CA, CA_KEY, CERT, KEY) if (folder / name).exists()]
    if there and not renew:
        raise LocalError(
            f"{folder} has {', '.join(there)} already: --renew replaces the certificate, --out DIR goes elsewhere"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    known = _known_ca(folder, ends)
    ca, ca_key = known or _new_ca(now - EARLIER, max(ends, now + datetime.timedelta(days=CA_DAYS)))
    if known is None:
        _write(folder, CA, CA_KEY, ca, ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    _write(folder, CERT, KEY, _certificate(key, ca, ca_key, now - EARLIER, ends), key)
    return known is None


def settings_text(folder: Path) -> str:
    """The settings that name the files, for all surveys that are enabled."""
    tls = ", ".join(f"{name}: {folder / file}" for name, file in (("ca", CA), ("cert", CERT), ("key", KEY)))
    first, *others = [dask_section(survey) for survey in enabled_surveys(load_config().enabled)] or ["dask"]
    lines = ["kowalski:", f"  {first}: &hosts", "    host: 10.0.0.1", f"    tls: {{{tls}}}"]
    return "\n".join([*lines, *(f"  {section}: *hosts" for section in others)])


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 36500:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 1 to 36500")
    return days


def _known_ca(folder: Path, until: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """The CA of a folder, if it is whole and holds long enough."""
    try:
        ca = x509.load_pem_x509_certificate((folder / CA).read_bytes())
        key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), None)
    except (FileNotFoundError, ValueError):
        return None
    return (ca, key) if isinstance(key, ec.EllipticCurvePrivateKey) and ca.not_valid_after_utc >= until else None


def _new_ca(begins: datetime.datetime, ends: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Kowalski's CA")
    ca = _builder(name, name, key, begins, ends, is_ca=True).sign(key, hashes.SHA256())
    return ca, key


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    builder = _builder(_name("Kowalski's dask"), ca.subject, key, begins, ends, is_ca=False)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(both, critical=False).add_extension(issuer, critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
    is_ca: bool,
) -> x509.CertificateBuilder:
    usage = {"digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
    usage |= dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    usage |= {"encipher_only": False, "decipher_only": False}
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(
    folder: Path, cert: str, key: str, certificate: x509.Certificate, private: ec.EllipticCurvePrivateKey
) -> None:
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    text = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode()
    write_private(folder / key, text)
    write_private(folder / cert, certificate.public_bytes(pem).decode())
    os.chmod(folder / cert, 0o644)
