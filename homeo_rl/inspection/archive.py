"""The contents of a Stable-Baselines3 zip or a numpy archive; nothing is unpickled, imported or built."""

import zipfile
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError
from homeo_rl.storage import strict_json, zip_archive
from homeo_rl.storage.files import printable
from homeo_rl.storage.npz_header import array_head

_MAX_TEXT = 64 << 10  # bytes of a member that is a few lines
_MAX_ENTRIES = 16  # of a list that is shown in full


def describe_archive(path: Path) -> dict[str, Any]:
    """Return what an archive holds, as plain data; its ``kind`` is "sb3" or "npz".

    Raises:
        UsageError: it is another kind of archive.
        StorageFault: it is damaged or a bomb, or holds pickled arrays.
    """
    with zip_archive.open_zip(path) as archive:
        infos = archive.infolist()
        names = [info.orig_filename for info in infos]
        members = [
            {"name": i.orig_filename, "bytes": i.file_size, "compressed": i.compress_size, "odd": zip_archive.oddity(i)}
            for i in infos
        ]
        contents = {"path": str(path), "bytes": path.lstat().st_size, "members": members}
        if "_stable_baselines3_version" in names or ("data" in names and any(n.endswith(".pth") for n in names)):
            return {"kind": "sb3", **contents, **_sb3(archive, path)}
        if names and all(name.endswith(".npy") for name in names):
            return {"kind": "npz", **contents, "arrays": [_array(archive, info, path) for info in infos]}
    raise UsageError(
        f"{path}: expected a Stable-Baselines3 zip or a numpy archive, found a zip of {len(names)} other members; "
        "give one of these"
    )


def _sb3(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return what an algorithm's zip tells of itself; its pickles stay closed."""
    contents: dict[str, Any] = {"version": "", "system": [], "data": {}, "pickles": []}
    for info in archive.infolist():
        name = info.orig_filename
        where = f"{path}: {printable(name)}"
        if name == "data":
            document = strict_json.decode(zip_archive.read_member(archive, info, strict_json.SMALL.size, where), where)
            for key, value in document.items():
                pickled = isinstance(value, dict) and ":serialized:" in value
                contents["data"][key] = f"pickled {printable(value.get(':type:', ''))}" if pickled else brief(value)
                if pickled:
                    contents["pickles"].append(f"data: {key}")
        elif name == "_stable_baselines3_version":
            contents["version"] = _text(zip_archive.read_member(archive, info, _MAX_TEXT, where)).strip()
        elif name == "system_info.txt":
            contents["system"] = (
                _text(zip_archive.read_member(archive, info, _MAX_TEXT, where)).strip().splitlines()[:50]
            )
        elif name.endswith((".pth", ".pkl", ".pt")):
            contents["pickles"].append(name)
    return contents


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> dict[str, Any]:
    head = array_head(archive, info, path)
    return {"name": head.name, "dtype": str(head.dtype), "shape": list(head.shape)}


def brief(value: Any) -> Any:
    """Return a value of a JSON document if it is short, and otherwise what it is."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        short = len(value) <= _MAX_ENTRIES and not any(isinstance(entry, list | dict) for entry in value)
        return [brief(entry) for entry in value] if short else f"list of {len(value)}"
    return f"object of {len(value)}" if isinstance(value, dict) else value


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", errors="replace")
