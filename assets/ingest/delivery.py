"""What lies in a delivery's folder: files, and the files inside zip and gzip archives, found by pattern and hashed.

An archive is a folder with another name: a pattern finds a member of `WE_00D_1.zip` as it would find the file beside it,
and `Deals.csv.gz` is `Deals.csv`. Nothing is ever written under a name an archive gives, so a name cannot lead out of the
scratch folder, and unpacking stops where an archive turns out to be a bomb. Links that lead out of the landing folder,
folders with the name of a file and archives inside archives are refused: to leave them out would lose rows unseen.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import fnmatch
import gzip
import hashlib
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from assets.errors import DeliveryError

CHUNK = 1 << 20

IGNORED = (".", "~$")
"""Files of editors and of transfers still going on start so."""

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".download")
"""Files that are still being written end so."""

MAX_RATIO = 250
"""How many times its packed size a member may unpack to. Extracts of text reach 50; deflate itself ends at about 1,000."""

FREE_SIZE = 64 << 20
"""A member that unpacks to no more than this is never refused for its ratio."""

MAX_MEMBERS = 10_000

CONTROL_FILE = "control.csv"
"""What a source says its files hold (`controls.py`): never read as data."""

_PATTERN_CHARACTERS = re.compile(r"[*?\[\]{}\\]")
"""What DuckDB takes for a pattern in the path of a file."""


PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EAGAIN", "ETIMEDOUT", "ECONNRESET", "ECONNABORTED", "ENOTCONN", "EREMOTEIO", "EPROTO"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
    )
    if hasattr(errno, name)
)
"""Errors of a disk or a share that may be gone a moment later; that a file is not there, closed or malformed is none of them."""


class StorageFailed(DeliveryError):
    """A delivered file could not be read because its storage failed, and not for what is in it: reading again may help."""


@dataclasses.dataclass(frozen=True)
class DeliveredFile:
    """One file as it lies in the landing folder, or one member of an archive there (`member`)."""

    path: Path
    name: str
    size: int
    sha256: str
    member: str | None = None
    modified_ns: int = 0

    @property
    def suffix(self) -> str:
        """The kind of file by its name: `.csv` for `Deals.csv`, `Deals.csv.gz` and a member `Deals.csv`."""
        name = PurePosixPath(self.name)
        return (PurePosixPath(name.stem) if name.suffix.lower() == ".gz" else name).suffix.lower()


def is_complete(path: Path) -> bool:
    """Whether a name is one of a file that is there to be read."""
    return not path.name.startswith(IGNORED) and not path.name.lower().endswith(UNFINISHED)


def candidates(folder: Path) -> list[Path]:
    """The files of a landing folder that may hold records, in order of name."""
    return [path for path in _entries(folder) if path.is_file()]


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_complete(path) and path.name != CONTROL_FILE)


def delivered_files(
    folder: Path, patterns: Iterable[str], where: str, without: Iterable[str] = ()
) -> list[DeliveredFile]:
    """The files of a landing folder whose names match one of `patterns` and none of `without`, in order of name.

    `where` says whose delivery it is, for errors. Raises DeliveryError for an archive that cannot be trusted or read.
    """
    wanted, unwanted = tuple(patterns), tuple(without)
    found = []
    for path in _entries(folder):
        if path.suffix.lower() == ".zip":
            _refuse_outside(path, where)
            members = [
                member for member in _members(path, where) if _matches(_unpacked_name(_base(member)), wanted, unwanted)
            ]
            _refuse_nested(path, members, where)
            if members:
                container = describe(path, where)
                found += [
                    dataclasses.replace(container, name=f"{path.name}/{member}", member=member) for member in members
                ]
            continue
        if _matches(_unpacked_name(shown_name(path)), wanted, unwanted):
            _refuse_outside(path, where)
            found.append(describe(path, where))
    return found


def shown_name(path: Path) -> str:
    """The name of a file as people read it. Names that are no UTF-8 come from Chinese Windows, by way of an archive."""
    try:
        path.name.encode("utf-8")
        return path.name
    except UnicodeEncodeError:
        name = os.fsencode(path.name)
    try:
        return name.decode("gb18030")
    except UnicodeDecodeError:
        return name.decode("utf-8", errors="backslashreplace")


def _unpacked_name(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") else name


def _refuse_outside(path: Path, where: str) -> None:
    """Only files that lie in the folder are read: who can write there must not make others' files readable by a link."""
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise DeliveryError(
            f"{where}: {shown_name(path)} is a link that leads out of its folder, and only files that lie in a delivery's "
            "folder are read. Put the file itself there. Nothing of it was taken."
        )
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(path, where, error) from None
    if not stat.S_ISREG(mode):
        raise DeliveryError(
            f"{where}: {shown_name(path)} has the name of a file and is {'a folder' if stat.S_ISDIR(mode) else 'none'}: "
            "what lies in it would not be read. Put the files directly into the folder of their date. Nothing of it was taken."
        )


def _refuse_nested(path: Path, members: list[str], where: str) -> None:
    nested = [name for name in members if name.lower().endswith((".zip", ".gz"))]
    if nested:
        raise DeliveryError(
            f"{where}: {shown_name(path)} holds an archive inside the archive, '{nested[0]}', and only one layer is "
            "unpacked. Deliver the inner one by itself. Nothing of it was taken."
        )


def is_passing(error: BaseException) -> bool:
    """Whether reading again may help."""
    return isinstance(error, StorageFailed) or (isinstance(error, OSError) and error.errno in PASSING)


def _unreadable(path: Path, where: str, error: OSError) -> DeliveryError:
    if is_passing(error):
        return StorageFailed(
            f"{where}: {shown_name(path)} cannot be read ({error.strerror or error}): its disk or share failed. Look at that, "
            "and run the date again. Nothing of it was taken."
        )
    return DeliveryError(
        f"{where}: {shown_name(path)} cannot be read ({error.strerror or error}). It may have been taken away meanwhile, or "
        "belong to somebody else: deliver it again, readable for this account. Nothing of it was taken."
    )


def _matches(name: str, patterns: tuple[str, ...], without: tuple[str, ...]) -> bool:
    return any(_same(name, pattern) for pattern in patterns) and not any(_same(name, pattern) for pattern in without)


def _same(name: str, pattern: str) -> bool:
    # Apple's systems write é as two characters.
    return fnmatch.fnmatchcase(unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", pattern))


def _base(member: str) -> str:
    """The name of an archive's member without its folders, which some Windows programs write with backslashes."""
    return PurePosixPath(member.replace("\\", "/")).name


def describe(path: Path, where: str) -> DeliveredFile:
    """Size and sha256 of a delivered file, read in one pass. Raises DeliveryError when it grows meanwhile."""
    digest = hashlib.sha256()
    size = 0
    try:
        before = path.stat()
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        after = path.stat()
    except OSError as error:
        raise _unreadable(path, where, error) from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or size != after.st_size:
        raise _still_written(path, where)
    return DeliveredFile(path, shown_name(path), size, digest.hexdigest(), modified_ns=after.st_mtime_ns)


def refuse_changed(files: Iterable[DeliveredFile], where: str) -> None:
    """Raise DeliveryError when a file is no longer the one that was described: what was read of it may be half of each."""
    for file in files:
        try:
            now = file.path.stat()
        except OSError as error:
            raise _unreadable(file.path, where, error) from None
        if (now.st_size, now.st_mtime_ns) != (file.size, file.modified_ns):
            raise _still_written(file.path, where)


def _still_written(path: Path, where: str) -> DeliveryError:
    return DeliveryError(
        f"{where}: {shown_name(path)} is still being written: it changed while it was read. Run the date again when it is "
        "complete; a transfer that writes under a name ending in .tmp and renames it at the end is never read early. "
        "Nothing of it was taken."
    )


def _members(path: Path, where: str) -> list[str]:
    """The files inside a zip. Raises DeliveryError for names that lead elsewhere and for what is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename and not info.is_dir()]
            names = [_name(info) for info in infos]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        if isinstance(error, OSError) and is_passing(error):
            raise _unreadable(path, where, error) from None
        raise DeliveryError(
            f"{where}: {path.name} is not a readable zip ({error}). It may have been cut off: deliver it again. "
            "Nothing of it was taken."
        ) from None
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or not parts.parts or ".." in parts.parts or ":" in parts.parts[0] or "\0" in name:
            raise DeliveryError(
                f"{where}: {path.name} holds a member named '{name}', which leads out of its folder. No export writes "
                "such a name: ask where the file comes from. Nothing of it was taken."
            )
    if len(names) > MAX_MEMBERS:
        raise DeliveryError(
            f"{where}: {path.name} holds {len(names)} files, more than the {MAX_MEMBERS} a delivery may. Nothing of it "
            "was taken."
        )
    twice = sorted(name for name, times in collections.Counter(names).items() if times > 1)
    if twice:
        raise DeliveryError(
            f"{where}: {path.name} holds two files named '{twice[0]}', and nothing says which of them holds. Deliver it again "
            "with one of each name. Nothing of it was taken."
        )
    if sum(info.file_size for info in infos) > max(FREE_SIZE, path.stat().st_size * MAX_RATIO):
        raise DeliveryError(
            f"{where}: the files in {path.name} unpack to more than {MAX_RATIO} times its size, which no extract does. Ask "
            "where the file comes from. Nothing of it was taken."
        )
    shown = sorted(name for name in names if is_complete(Path(PurePosixPath(name).name)) and "__MACOSX" not in name)
    return shown


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member; archives made on Chinese Windows write it in GBK and do not say so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.orig_filename.encode("cp437").decode("gb18030")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return info.filename


def unpacked(delivered: DeliveredFile, scratch: Path, where: str) -> Path:
    """A plain file with the content of `delivered`: itself, or what was unpacked below `scratch`."""
    packed_by_gzip = delivered.member is None and delivered.path.suffix.lower() == ".gz"
    if delivered.member is None and not packed_by_gzip:
        return _plain_path(delivered, scratch)
    target = scratch / f"{delivered.sha256}-{hashlib.sha256(delivered.name.encode()).hexdigest()[:12]}.unpacked"
    if target.exists():
        return target
    try:
        if packed_by_gzip:
            with gzip.open(delivered.path) as stream:
                _copy(stream, target, delivered.size, delivered, where)
        else:
            with zipfile.ZipFile(delivered.path) as archive:
                info = next(info for info in archive.infolist() if _name(info) == delivered.member)
                with archive.open(info) as member:
                    _copy(member, target, info.compress_size, delivered, where)
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error, RuntimeError, NotImplementedError) as error:
        if isinstance(error, OSError) and is_passing(error):
            raise _unreadable(delivered.path, where, error) from None
        raise DeliveryError(
            f"{where}: {delivered.name} cannot be unpacked ({error}). It was cut off or is protected by a password: "
            "deliver it again, without one. Nothing of it was taken."
        ) from None
    return target


def _plain_path(delivered: DeliveredFile, scratch: Path) -> Path:
    """The file's own path, or a link to it where DuckDB could not take the path as it is."""
    path = delivered.path.absolute()
    if not _PATTERN_CHARACTERS.search(str(path)) and path.name == delivered.name:
        return delivered.path
    link = scratch / f"{delivered.sha256}-{hashlib.sha256(delivered.name.encode()).hexdigest()[:12]}.link"
    if not link.exists():
        link.symlink_to(path)
    return link


def _copy(stream: IO[bytes] | gzip.GzipFile, target: Path, packed: int, delivered: DeliveredFile, where: str) -> None:
    size = 0
    with target.open("wb") as out:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > max(FREE_SIZE, packed * MAX_RATIO):
                raise DeliveryError(
                    f"{where}: {delivered.name} unpacks to more than {MAX_RATIO} times its size, which no extract does; "
                    "unpacking was stopped. Ask where the file comes from. Nothing of it was taken."
                )
            out.write(chunk)
