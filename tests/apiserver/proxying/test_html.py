"""URLs of answers lead back through the proxy. Rule: spec "service-api" §8.3."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.errors import InternalError
from seaway.apiserver.proxying.html import MAX_TAG_BYTES, HtmlRewriter
from seaway.apiserver.proxying.links import Links
from seaway.apiserver.proxying.transform import Transformer, find_transformer, rewrite_location

LINKS = Links("/p/proxy", "10.0.0.1:80", "api:6443")


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("/", "/p/proxy/"),
        ("/a/b/", "/p/proxy/a/b/"),
        ("/a?b=/c#d", "/p/proxy/a?b=/c#d"),
        ("http://10.0.0.1:80/a", "/p/proxy/a"),
        ("https://api:6443/a", "https://api:6443/p/proxy/a"),
        ("//10.0.0.1:80/a", "/p/proxy/a"),
        ("/p/proxy/a", "/p/proxy/a"),
        ("a/b", "a/b"),
        ("../a", "../a"),
        ("", ""),
        ("#top", "#top"),
        ("?q", "?q"),
        ("http://other/a", "http://other/a"),
        ("//cdn/a", "//cdn/a"),
        ("http://10.0.0.1:81/a", "http://10.0.0.1:81/a"),
        ("mailto:a@b", "mailto:a@b"),
        ("javascript:f('/x')", "javascript:f('/x')"),
        ("data:text/plain,/x", "data:text/plain,/x"),
    ],
)
def test_only_what_is_absolute_on_the_same_host_is_rewritten(url: str, becomes: str) -> None:
    assert LINKS.rewrite(url) == becomes
    assert LINKS.rewrite(becomes) == becomes, "once is enough"


@pytest.mark.parametrize("url", ["/a\nb", "/\x7f", "/%zz", "/%4", "http://h:port/", "http://[::1/"])
def test_a_location_that_is_no_url_is_a_500(url: str) -> None:
    with pytest.raises(InternalError, match="error trying to parse Location header"):
        rewrite_location((("Location", url),), LINKS)


def rewrite(data: bytes, *cuts: int) -> bytes:
    rewriter = HtmlRewriter(LINKS.rewrite)
    edges = [0, *cuts, len(data)]
    return b"".join(rewriter.feed(data[a:b]) for a, b in pairwise(edges)) + rewriter.finish()


@pytest.mark.parametrize(
    ("page", "becomes"),
    [
        (b'<a href="/x">', b'<a href="/p/proxy/x">'),
        (b"<A HREF = '/x'>", b"<A HREF = '/p/proxy/x'>"),
        (b"<a href=/x/>", b'<a href="/p/proxy/x/">'),
        (b'<img alt="/no" src="/y" />', b'<img alt="/no" src="/p/proxy/y" />'),
        (b'<form action="/f"><link href="/l"><script src="/s">', b'<form action="/p/proxy/f"><link href="/p/proxy/l">'
                                                               b'<script src="/p/proxy/s">'),
        (b'<a href="/x?a=1&amp;b=2">', b'<a href="/p/proxy/x?a=1&amp;b=2">'),
        (b'<a title="a > b" href="/x">', b'<a title="a > b" href="/p/proxy/x">'),
        (b'<a data-href="/x" title="href=/y">', b'<a data-href="/x" title="href=/y">'),
        (b'<a href="\xff\xe9" class=b href="/\xc3\xa9">', b'<a href="\xff\xe9" class=b href="/p/proxy/\xc3\xa9">'),
        (b'<div href="/x">', b'<div href="/x">'),
    ],
)  # fmt: skip
def test_attributes_that_are_urls_are_rewritten(page: bytes, becomes: bytes) -> None:
    assert rewrite(page) == becomes


@pytest.mark.parametrize(
    "page",
    [b"1 < 2 <> < a href=/x>", b"<!-- <a href='/x'> -->", b"<script>'<a href=/x>'</script>",
     b"<!doctype html>", b"<style><a href=/x></STYLE >", b"<title><a href=/x></title>", b"<a href='/x",
     b"<a", b"<", b"<!-", b"</a href=/x>",
     b"<a href='/%zz'>", b"<a " + b"x" * MAX_TAG_BYTES + b" href=/x>"],
    ids=lambda page: page[:24].decode(),
)  # fmt: skip
def test_what_is_no_tag_passes_byte_for_byte(page: bytes) -> None:
    assert rewrite(page) == page


def test_after_what_is_no_markup_comes_markup() -> None:
    for before in (b"<!-->", b"<!-- a -- b -->", b"<script>a</b></script>", b"<!x>", b"< "):
        assert rewrite(before + b"<a href=/x>") == before + b'<a href="/p/proxy/x">'


PIECES = st.sampled_from(
    [b"<a href='/x'>", b"text", b"<!--", b"-->", b"<script>", b"</script>", b'"', b"'", b"<", b">", b"=", b" href=",
     b"/x", b"<img src=/y>", b"\xff", b"<!x", b"<title>", b"</title >"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join), st.data())
def test_the_page_is_the_same_however_it_is_cut(page: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(page)), max_size=6)))
    assert rewrite(page, *cuts) == rewrite(page)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_a_page_without_urls_of_its_own_passes_byte_for_byte(page: bytes) -> None:
    page = page.replace(b"/x", b"x").replace(b"/y", b"y")
    assert rewrite(page) == page


def run(transformer: Transformer, data: bytes, size: int) -> bytes:
    found = []
    for start in range(0, len(data), size):
        found += [*transformer.feed(data[start : start + size]), transformer.flush()]
    return b"".join(found) + transformer.finish()


def bare_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_compressed_pages_stay_compressed(size: int) -> None:
    page, wanted = b"<a href='/x'>" * 20_000, b"<a href='/p/proxy/x'>" * 20_000
    assert gzip.decompress(run(Transformer(LINKS.rewrite, "gzip"), gzip.compress(page), size)) == wanted
    assert zlib.decompress(run(Transformer(LINKS.rewrite, "deflate"), zlib.compress(page), size)) == wanted
    assert zlib.decompress(run(Transformer(LINKS.rewrite, "deflate"), bare_deflate(page), size), -15) == wanted
    with pytest.raises(ValueError, match="incorrect header"):
        run(Transformer(LINKS.rewrite, "gzip"), page, size)


@pytest.mark.parametrize(
    ("fields", "is_rewritten"),
    [
        ((("Content-Type", "text/html"),), True),
        ((("content-type", "text/html ; charset=utf-8"), ("Content-Encoding", "gzip")), True),
        ((("Content-Type", "text/html"), ("Content-Encoding", "br")), False),
        ((("Content-Type", "application/json"),), False),
        ((("Content-Type", "text/html"), ("Location", "/x")), False),
        ((), False),
    ],
)
def test_only_html_that_can_be_read_is_rewritten(fields: tuple[tuple[str, str], ...], is_rewritten: bool) -> None:
    assert (find_transformer(fields, LINKS) is not None) == is_rewritten
