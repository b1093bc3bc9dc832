"""What an image says, and what names stand for. Rule: OCI image-spec, "config.md"."""

from __future__ import annotations

import pytest

from seaway.node.runtime.images.values import Alias, Image, ImageIndex, decode_config, find_ids

PASSWD = "root:x:0:0::/root:/bin/sh\nbroken line\nweb:x:101:102:Web:/srv:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:web\n"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        pytest.param("", (0, 0), id="nobody said is root"),
        pytest.param("101", (101, 102), id="a number brings its group"),
        pytest.param("7", (7, 0), id="a number that the image does not know"),
        pytest.param("web", (101, 102), id="a name"),
        pytest.param("web:staff", (101, 50), id="a name and a group"),
        pytest.param("7:8", (7, 8), id="two numbers"),
        pytest.param("nobody", None, id="a name that the image does not have"),
        pytest.param("web:wheel", None, id="a group that the image does not have"),
        pytest.param("٣", None, id="digits of other scripts are no number"),
    ],
)
def test_the_numbers_of_a_user(user: str, ids: tuple[int, int] | None) -> None:
    assert find_ids(user, PASSWD, GROUP) == ids


def test_a_configuration_may_say_nothing_and_null() -> None:
    empty = {"entrypoint": (), "cmd": (), "env": (), "working_dir": "", "user": "", "stop_signal": ""}
    assert decode_config({}) == empty
    assert decode_config({"config": {"Entrypoint": None, "Env": None, "User": None}}) == empty
    assert decode_config({"config": {"Env": ["A=b=c", "D"]}})["env"] == (("A", "b=c"), ("D", ""))


def test_an_alias_comes_before_an_image_of_the_name() -> None:
    image = Image(id="sha256:1", names=("docker.io/library/a:1",))
    program = Alias(argv=("/bin/true", "x"), env=(("A", "b"),))
    index = ImageIndex({image.id: image}, {"docker.io/library/b:1": Alias(image.id), "docker.io/library/a:1": program})
    assert index.find("docker.io/library/b:1") == image
    assert index.find(image.id) == image
    found = index.find("docker.io/library/a:1")
    assert found is not None
    assert (found.has_root, found.entrypoint, found.cmd, found.env) == (False, ("/bin/true",), ("x",), (("A", "b"),))
    assert index.find("docker.io/library/c:1") is None
