"""Names of images. Rule: spec "node" §6.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.runtime.images.names import ImageNameError, normalize

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        pytest.param("busybox", "docker.io/library/busybox:latest", id="a bare name is an official image"),
        pytest.param("user/app:1.2", "docker.io/user/app:1.2", id="a user's image"),
        pytest.param("localhost/app", "localhost/app:latest", id="localhost is a host"),
        pytest.param("host:5000/app", "host:5000/app:latest", id="a port makes a host"),
        pytest.param("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10", id="a dot makes a host"),
        pytest.param(f"app:1@{DIGEST}", f"docker.io/library/app@{DIGEST}", id="a digest is stronger than a tag"),
        pytest.param("[::1]:5000/app", "[::1]:5000/app:latest", id="a host may be an address"),
    ],
)
def test_the_full_name(text: str, full: str) -> None:
    assert normalize(text) == full
    assert normalize(full) == full


@pytest.mark.parametrize("text", ["", "App", "a//b", "app:", "app:x y", "app@sha256:12", "-app", "a" * 300, "../x"])
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(ImageNameError, match="invalid reference format"):
        normalize(text)


@given(st.text(max_size=40))
def test_any_text_has_a_full_name_or_is_refused(text: str) -> None:
    try:
        full = normalize(text)
    except ImageNameError:
        return
    assert normalize(full) == full
