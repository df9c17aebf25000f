"""A finished run as one archive, for machines that share no folder; unpacked where nothing else is."""

import io
import shutil
import zipfile
from pathlib import Path

from homeo_rl.errors import StorageFault
from homeo_rl.storage import zip_archive

_LEFT_OUT = ("checkpoints", ".lock")  # what a finished run does not need


def pack(folder: Path) -> bytes:
    """Return a folder as an uncompressed archive of regular files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, mode="w", compression=zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not path.is_symlink() and name.parts[0] not in _LEFT_OUT:
                archive.writestr(zipfile.ZipInfo(name.as_posix()), path.read_bytes())
    return file.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Make ``folder`` of an archive, in place of one that is there.

    Raises StorageFault: a member would lie elsewhere, or the archive is broken; nothing is left of it.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            for member in members.infolist():
                if odd := zip_archive.oddity(member):
                    raise zipfile.BadZipFile(f"{member.filename} {odd}")
                path = fresh / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(members.read(member))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise StorageFault(f"{folder}: could not be unpacked ({error}); free space or permission?") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
