"""Rule: passwd(5), group(5); spec "node" §2.9."""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.node.runtime.local.ids import Ids, find_ids, find_ids_inside

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web,,,:/home/web:/bin/sh\nbroken\nodd:x:7:none:::\n"
GROUP = "root:x:0:\nweb:x:1001:\nlog:x:4:syslog,web\naudio:x:29:web\nbroken:x\nlogger:x:5:webb\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        pytest.param(1000, Ids(1000, 1001, (4, 29)), id="a user that the image knows has its groups"),
        pytest.param(0, Ids(0, 0), id="root"),
        pytest.param(1234, Ids(1234, 0), id="one that it does not is in root's group alone"),
        pytest.param(7, Ids(7, 0), id="a line that cannot be read is none"),
    ],
)
def test_ids(user: int, expected: Ids) -> None:
    assert find_ids(user, PASSWD, GROUP) == expected


def test_files_that_lead_out_of_the_image_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").symlink_to("/etc/passwd")
    assert find_ids_inside(tmp_path, 0) == Ids(0, 0)
