"""Files are whole or absent, whatever stands in their place, and errors name them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from milinfer.exceptions import ConfigurationError, MissingFileError
from milinfer.utils.files import atomic_folder, atomic_path, named_errors, write_whole


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    """Regression: the link became a file, and the file that it pointed to stayed old."""
    (tmp_path / "disk").mkdir()
    link, file = tmp_path / "link.root", tmp_path / "disk" / "old.root"
    file.write_text("old")
    link.symlink_to("disk/old.root")
    write_whole(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    # One that points to nothing yet, through another one.
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "disk" / "fresh")
    write_whole(tmp_path / "first", "new")
    assert (tmp_path / "disk" / "fresh").read_text() == "new"
    assert (tmp_path / "first").is_symlink()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match=r"symbolic links: '.*round'"):
        write_whole(tmp_path / "round", "new")
    (tmp_path / "lost").symlink_to("nowhere/a")
    with pytest.raises(MissingFileError, match=r"the directory .*nowhere does not exist"):
        write_whole(tmp_path / "lost", "new")
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_link_to_a_folder_stays(tmp_path):
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "model").symlink_to("disk/model")
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "disk" / "model" / "a.txt").read_text() == "a"
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_an_output_that_is_open_is_not_replaced(tmp_path):
    """The file that a shell writes the output of a program to, and others by their numbers."""
    code = (
        "from milinfer.utils.files import write_whole\n"
        "for name in ('/dev/stdout', '/dev/fd/1', '/proc/self/fd/1', '/dev/null'):\n"
        "    try:\n        write_whole(name, 'a')\n"
        "    except ValueError as error:\n        print(error)\n"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=log)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        f"cannot write {name}: it is a device or a pipe"
        for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null")
    ]


def test_only_files_take_the_place_of_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a")
    for name, kind in (("pipe", "a device or a pipe"), ("folder", "a folder")):
        words = f"cannot write {tmp_path / name}: it is {kind}; give"
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            write_whole(tmp_path / name, "a")
    with (
        pytest.raises(ConfigurationError, match=r"cannot write .*file: it is a file; give"),
        atomic_folder(tmp_path / "file"),
    ):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {"pipe", "folder", "file"}
    assert (tmp_path / "file").read_text() == "a"


def test_errors_name_the_file_that_the_user_knows(tmp_path, monkeypatch):
    """Regression: errors of permissions named the temporary file."""

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.touch", refuse)
        with pytest.raises(PermissionError) as caught:
            write_whole(tmp_path / "o.root", "a")
    assert caught.value.filename == str(tmp_path / "o.root")
    # A file in a folder, and a writer within a writer.
    with (
        pytest.raises(PermissionError) as caught,
        atomic_folder(tmp_path / "model") as folder,
        atomic_path(folder / "a.json") as temporary,
    ):
        refuse(temporary)
    assert caught.value.filename == str(tmp_path / "model" / "a.json")
    # Other files keep their names.
    with pytest.raises(PermissionError) as caught, atomic_path(tmp_path / "o.root"):
        refuse(tmp_path / "source.lhe")
    assert caught.value.filename == str(tmp_path / "source.lhe")
    with pytest.raises(OSError, match=r"^odd$"), named_errors("a"):
        raise OSError("odd")
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_that_are_no_text_are_escaped(tmp_path):
    """Regression: a report with such a name could not be written."""
    write_whole(tmp_path / "a.html", f"é{os.fsdecode(bytes([255]))}")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "é\\udcff"


def test_names_as_long_as_a_file_system_has_them(tmp_path):
    """Regression: a name of more than 237 bytes was too long with the prefix of the temporary."""
    target = tmp_path / ("θ" * 120 + "a" * 10 + ".json")
    assert len(target.name.encode()) == 255
    for word in ("older", "newer"):
        write_whole(target, word)
    assert target.read_text() == "newer"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    """Regression: the error named the target alone, which the user had not given."""
    link = tmp_path / "link.json"
    link.symlink_to("nowhere/a.json")
    message = r"link\.json, which points to .*a\.json: the directory .*nowhere does not exist"
    with pytest.raises(MissingFileError, match=message):
        write_whole(link, "")
    folder = tmp_path / "folder"
    folder.symlink_to(".")
    with pytest.raises(ConfigurationError, match=r"folder, which points to .* it is a folder"):
        write_whole(folder, "")
