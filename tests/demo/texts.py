"""About 2,000 real texts: names and short descriptions of Debian packages, as this machine's package lists have them."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

WANTED = 2_000
STATUS = Path("/var/lib/dpkg/status")
# Parts of larger things (libraries, headers, data, …) are described by the thing they belong to, not by what they do.
PARTS = re.compile(
    r"^(lib|golang-|node-|python3?-|ruby-|r-|haskell-|fonts-|gir1|linux-|php|ocaml-|elpa-|task-|rust-|texlive-lang|hunspell-|aspell-|myspell-|firmware-|gcc-|g\+\+-|cpp-)"
    r"|-(dev|doc|dbg|dbgsym|data|common|l10n|locale|i18n|plugin|plugins|modules|examples|tests|udeb|bin|dkms|perl)$|^[^a-z]|-(l10n|i18n|help|lang)-"
)


@dataclass(frozen=True)
class Question:
    """A question in words, and three packages that answer it."""

    words: str
    answers: tuple[str, str, str]


# Asked in this order; the demo takes the first five whose answers this machine's lists have.
QUESTIONS = (
    Question("capture and analyse network traffic", ("tcpdump", "wireshark", "tshark")),
    Question("program to play chess", ("gnuchess", "stockfish", "xboard")),
    Question("cut and edit videos", ("shotcut", "openshot-qt", "kdenlive")),
    Question("burn a CD or DVD", ("k3b", "brasero", "wodim")),
    Question("keep track of my money and accounts", ("homebank", "gnucash", "ledger")),
    Question("compress files", ("gzip", "bzip2", "xz-utils")),
)
# Names that many people know, so that an answer tells them something. The rest of the texts is a draw over everything else.
WELL_KNOWN = """
    0ad abiword ansible apache2 ardour aria2 at atop audacity bash bind9 blender borgbackup btop calibre chromium claws-mail
    clamav cmake cron cryptsetup cups curl darktable deluge dnsmasq dovecot-imapd duplicity emacs epiphany-browser espeak-ng
    evince evolution exim4-daemon-light fail2ban ffmpeg firefox-esr fish foremost freecad freeciv gcc gcompris-qt gdb geany
    ghostscript gimp git gnumeric gnupg gnuplot gparted gramps handbrake haproxy hexchat htop hydrogen iftop inkscape iotop
    iperf3 irssi josm kate keepassxc kicad kmymoney krita kstars libreoffice lighttpd lilypond links lmms logrotate lynx
    mariadb-server marble maxima mercurial meson minetest mpv mumble musescore3 mutt mypaint nano neomutt neovim nginx
    nmap nodejs obs-studio octave okular openscad openssh-server openvpn p7zip pandoc parted pass perl pidgin podman
    poppler-utils postfix postgresql prometheus puppet python3 qbittorrent qemu-system qgis rawtherapee redis-server restic
    rsnapshot rsync ruby scratch screen simple-scan smartmontools spamassassin sqlite3 squid stellarium strace subversion sudo
    supertuxkart tesseract-ocr testdisk texlive thunderbird tmux tor transmission tuxpaint unbound valgrind vim virt-manager vlc
    w3m weechat wesnoth wget wireguard xorriso xplanet zathura zsh zstd
""".split()


def load() -> list[tuple[str, str]]:
    """(name, `name: short description`) of each package chosen, by name; the same lists give the same choice."""
    known = read_packages()
    answers = [name for question in QUESTIONS for name in question.answers]
    named = [name for name in (*answers, *WELL_KNOWN) if name in known]
    others = sorted(known, key=lambda name: (bool(PARTS.search(name)), hashlib.sha256(name.encode()).digest()))
    chosen = dict.fromkeys([*named, *others])
    return [(name, f"{name}: {known[name]}") for name in sorted(list(chosen)[:WANTED])]


def questions(names: set[str]) -> list[Question]:
    """The five to ask: those whose answers are among the texts."""
    return [question for question in QUESTIONS if names.issuperset(question.answers)][:5]


def read_packages() -> dict[str, str]:
    """Name → short description, of the package lists or else of what is installed."""
    try:
        listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True, text=True, errors="replace").stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    packages = parse(listed)
    if len(packages) < WANTED and STATUS.exists():
        packages = {**parse(STATUS.read_text(errors="replace")), **packages}
    if not packages:
        raise SystemExit("this machine has neither apt's package lists nor dpkg's status file to take texts from")
    return packages


def parse(control: str) -> dict[str, str]:
    """Reads paragraphs of `Field: value` lines."""
    packages = {}
    for paragraph in control.split("\n\n"):
        name = re.search(r"^Package: (.+)$", paragraph, re.MULTILINE)
        text = re.search(r"^Description(?:-en)?: (.+)$", paragraph, re.MULTILINE)
        if name and text:
            packages[name.group(1)] = text.group(1).strip()
    return packages
