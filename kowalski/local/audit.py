"""tools/audit.py: whether anything that is pinned is known to be vulnerable, asked of whichever database answers."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kowalski.config import ROOT

#: databases of vulnerabilities that pip-audit can ask, the best first
SERVICES = ("osv", "pypi", "esms")
#: s that one may take for all packages, and for an answer
PATIENCE, ANSWER = 300, 10


def main(arguments: list[str] | None = None) -> int:
    """Print what is known; 1 where a package has a known vulnerability, 0 where none has or nobody can be asked, which is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "requirements.txt", help="pinned packages")
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", help="one that does not concern us")
    parser.add_argument("--osv-url", metavar="URL", help="an OSV of your own")
    options = parser.parse_args(arguments)
    further = [f"--ignore-vuln={number}" for number in options.ignore]
    further += [f"--osv-url={options.osv_url}"] if options.osv_url else []
    for service in ("osv",) if options.osv_url else SERVICES:
        packages = asked(service, options.file, further)
        if any("vulns" in package for package in packages):
            return _told(service, packages)
    print(
        f"audit: none of {', '.join(SERVICES)} can be asked from here: vulnerabilities of {options.file.name} were NOT looked for"
    )
    return 0


def asked(service: str, file: Path, further: list[str]) -> list[dict[str, Any]]:
    """What a database says of each package: its ``vulns``, or why it has nothing to say; empty where it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip"]
    command += [f"--vulnerability-service={service}", f"--timeout={ANSWER}", "--format=json", "--progress-spinner=off"]
    try:
        done = subprocess.run([*command, *further], capture_output=True, text=True, timeout=PATIENCE, check=False)
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return []
    return packages


def _told(service: str, packages: list[dict[str, Any]]) -> int:
    looked_up = [package for package in packages if "vulns" in package]
    found = [(package, vulnerability) for package in looked_up for vulnerability in package["vulns"]]
    for package, vulnerability in found:
        names = ", ".join([vulnerability["id"], *vulnerability["aliases"]])
        mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {names}; mended in {mended}")
    left = f", {len(packages) - len(looked_up)} it does not know" if len(looked_up) < len(packages) else ""
    print(f"audit: {len(looked_up)} packages looked up at {service}{left}: {len(found)} known vulnerabilities")
    return 1 if found else 0
