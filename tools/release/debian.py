"""Folders with a Debian of their own, for what this machine lacks: the compiler's tools, another processor's Pythons.

Owns `target/debian/NAME`, made by debootstrap from Debian unstable, which has the newest Rust and Pythons. Making one
and running in it needs root. A folder for another processor runs through qemu-user, which the kernel is told to start.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_OWN_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}
_QEMU = {"arm64": "aarch64", "amd64": "x86_64"}
"""What qemu calls Debian's names of processors."""


class Folder:
    """One Debian in a folder."""

    def __init__(self, name: str, packages: Sequence[str], processor: str = "") -> None:
        """Describe it; `processor` is Debian's name of one, this machine's by default."""
        self.path = ROOT / "target" / "debian" / name
        self.processor = processor or _OWN_MACHINE[platform.machine()]
        self._packages = sorted(packages)

    def ensure(self) -> None:
        """Make the folder unless it is there with these packages; raise SetupError if it cannot be made."""
        stamp = self.path / "made-from"
        wanted = f"{self.processor} {' '.join(self._packages)}"
        if self._is_foreign():
            emulate(self.processor)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise SetupError(f"making {self.path} needs root and debootstrap")
        say(f"making {self.path.relative_to(ROOT)} with Debian unstable for {self.processor}")
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        options = ["--variant=minbase", f"--arch={self.processor}"]
        options += ["--foreign"] if self._is_foreign() else []
        packages = f"--include={','.join([*self._packages, 'ca-certificates'])}"
        _check(["debootstrap", *options, packages, "sid", str(self.path), MIRROR])
        if self._is_foreign():
            self._unpack()
            self._check_emulation()
        for file in (Path("/etc/resolv.conf"), Path("/etc/hosts"), CERTIFICATES):
            if file.exists():
                target = self.path / str(file).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        stamp.write_text(wanted)

    def _check_emulation(self) -> None:
        """Raise SetupError if the kernel cannot run the folder's programs: qemu's own libraries are outside of it."""
        status = subprocess.run(["chroot", str(self.path), "/bin/true"], check=False).returncode
        if status:
            raise SetupError(
                f"the kernel cannot start programs for {self.processor} in {self.path}: it needs a qemu-user that is "
                "statically linked (Debian: qemu-user-static)"
            )

    def _unpack(self) -> None:
        """Unpack every package without its scripts, which would be emulated and take half an hour."""
        for package in sorted(self.path.glob("var/cache/apt/archives/*.deb")):
            _check(["dpkg-deb", "--extract", str(package), str(self.path)])
        for name in ("passwd", "group"):
            shutil.copy(
                self.path / f"usr/share/base-passwd/{name}.master", self.path / "etc" / name
            )

    def _is_foreign(self) -> bool:
        return self.processor != _OWN_MACHINE[platform.machine()]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        shared: Sequence[Path] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command in the folder, in the project's folder if that is shared; raise SetupError if it fails.

        `shared` names folders that are where they are outside.
        """
        words = [str(word) for word in command]
        say(f"in {self.path.relative_to(ROOT)}: {' '.join(words)}")
        mounts = [
            f'mkdir -p "$0{folder}"; mount --bind "{folder}" "$0{folder}"' for folder in shared
        ]
        mounts += [f'mount --rbind /{name} "$0/{name}"' for name in ("proc", "dev", "sys")]
        start = f'cd "{ROOT}" 2>/dev/null || cd /; exec "$@"'
        script = "; ".join(["set -e", *mounts, f'exec chroot "$0" /bin/sh -c \'{start}\' sh "$@"'])
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CERT": str(CERTIFICATES),
            "CARGO_TERM_COLOR": "never",
            **(environ or {}),
        }
        unshare = ("unshare", "--mount", "--propagation", "private")
        _check([*unshare, "bash", "-c", script, str(self.path), *words], variables)

    def program(self, path: str) -> list[str]:
        """Return the command that runs a program of the folder outside of it, with the folder's own libraries."""
        machine = _QEMU[self.processor]
        # There may be the linkers of several processors.
        linker = next(self.path.glob(f"usr/lib*/ld-linux-{machine.replace('_', '-')}.so.*"))
        own = self.path / "usr" / "lib" / f"{machine}-linux-gnu"
        libraries = (own, (self.path / path).parent.parent / "lib")
        return [str(linker), "--library-path", ":".join(map(str, libraries)), str(self.path / path)]


def emulate(processor: str) -> None:
    """Have the kernel start programs of another processor with qemu-user; raise SetupError if that is not possible."""
    name = f"qemu-{_QEMU[processor]}"
    if not (_BINFMT / "register").exists():
        _check(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)])
    if (_BINFMT / name).exists():
        return
    rule = Path(f"/usr/lib/binfmt.d/{name}.conf")
    if not rule.exists():
        raise SetupError(
            f"programs for {processor} need a statically linked qemu-user (Debian: qemu-user-static)"
        )
    # F: the kernel opens qemu now, so it need not be found within a folder.
    text = re.sub(
        r":([A-Z]*)\s*$", lambda flags: f":{''.join(sorted({*flags[1], 'F'}))}", rule.read_text()
    )
    (_BINFMT / "register").write_text(text)


def _check(command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    status = subprocess.run(
        list(command), env=environ and dict(environ), stdin=subprocess.DEVNULL, check=False
    ).returncode
    if status:
        raise SetupError(f"status {status}: {' '.join(command)}")
