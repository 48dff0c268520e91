"""Files that commands write are looked at before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamer.commands.written_files import drawable, replaceable, writable
from streamer.errors import InputError


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent/x.png", "there is no directory {0}/absent: make it, or name another"),
        ("file/x.png", "{0}/file is no directory: name another place"),
        ("link.png", "there is no directory {0}/absent: make it, or name another"),
        (".", "is a directory: name a file"),
        (f"{'x' * 300}.png", "cannot be written: File name too long"),
    ],
)
@pytest.mark.parametrize("callback", [writable("--to"), replaceable("--to"), drawable("--to", ".png", ".svg")])
def test_a_place_that_is_not_there_is_refused(callback: object, name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "absent" / "x.png")
    assert callable(callback)
    with pytest.raises(InputError) as caught:
        callback(tmp_path / name)
    assert reason.format(tmp_path) in str(caught.value)
    assert str(caught.value).startswith(f"--to {tmp_path / name}")


def test_what_can_be_written_is_taken(tmp_path: Path) -> None:
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.touch()
    os.mkfifo(pipe)
    for path in (None, file, pipe, tmp_path / "new", Path("-"), Path("/dev/stdout")):
        assert writable("--to")(path) == path


def test_a_place_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _path, mode: mode != os.W_OK)  # the user of the tests may be root
    assert writable("--to")(Path("-")) == Path("-")
    with pytest.raises(InputError, match=rf"^--to {tmp_path}/new: {tmp_path} may not be written to: change its permissions"):
        writable("--to")(tmp_path / "new")


def test_what_is_replaced_is_the_file_that_a_link_leads_to_and_no_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    assert replaceable("--to")(tmp_path / "link") == tmp_path / "target"
    (tmp_path / "target").touch()
    assert replaceable("--to")(tmp_path / "link") == tmp_path / "target"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    for name in ("pipe", "to-pipe"):
        with pytest.raises(InputError, match=rf"^--to {tmp_path}/{name} is no regular file, which a new one could replace: name another$"):
            replaceable("--to")(tmp_path / name)
