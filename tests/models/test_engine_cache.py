"""A kept engine is loaded only if it is whole and was made for just this."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.engines.trt.cache import (
    JIT,
    EngineCache,
    EngineKey,
    cache_folder,
    key_of,
    read_kept,
    write_kept,
)
from models.errors import EngineError

KEY = EngineKey(
    model="nuclei",
    model_sha256="ab" * 32,
    precision="fp16",
    sizes="64x64,512x512,2048x2048;1,32,256",
    flavour="tensorrt-rtx",
    flavour_version="1.7.1",
    gpu="NVIDIA RTX A4000",
    capability="8.6",
    driver="580.65",
)
PAYLOAD = bytes(range(256)) * 4


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines", most_bytes=5500)


def test_what_was_saved_is_loaded(cache: EngineCache) -> None:
    assert cache.load(KEY).reason == "not built yet"
    path = cache.save(KEY, PAYLOAD)
    assert cache.load(KEY).payload == PAYLOAD
    assert key_of(path) == KEY
    assert path.name.startswith("nuclei-tensorrt-rtx-fp16-")
    assert [one.name for one in cache.folder.iterdir()] == [path.name], "nothing else is left"
    cache.save(KEY, b"of the driver", JIT)
    assert cache.load(KEY, JIT).payload == b"of the driver"
    assert cache.load(KEY).payload == PAYLOAD


@pytest.mark.parametrize("field", [one.name for one in fields(EngineKey)])
def test_every_part_of_the_key_counts(cache: EngineCache, field: str) -> None:
    path = cache.save(KEY, PAYLOAD)
    other = replace(KEY, **{field: getattr(KEY, field) + "0"})
    assert cache.load(other).payload is None
    # nor does it help to put the file where the other one would lie
    if cache.path(other) != path:
        assert cache.load(KEY).payload == PAYLOAD
        cache.path(other).write_bytes(path.read_bytes())
    else:
        cache.save(KEY, PAYLOAD)
    kept = cache.load(other)
    assert kept.payload is None
    assert kept.reason == (
        f"made for {field} {getattr(KEY, field)!r}, here it is {getattr(other, field)!r}"
    )
    assert not cache.path(other).exists(), "what is outdated goes"


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_single_wrong_bit_is_found(tmp_path: Path, place: float, bit: int) -> None:
    path = tmp_path / "one.engine"
    write_kept(path, KEY, PAYLOAD)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    kept = read_kept(path, KEY)
    assert kept.payload is None
    assert kept.reason


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_short_is_found(tmp_path: Path, part: float) -> None:
    path = tmp_path / "one.engine"
    write_kept(path, KEY, PAYLOAD)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert read_kept(path, KEY).payload is None
    assert "cut short" in read_kept(path, KEY).reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK" + bytes(100), "not an engine of this program"),
        (b"PFENGINE" + (9).to_bytes(4, "little") + bytes(100), "of format 9"),
        (b"PFENGINE" + (1).to_bytes(4, "little") + b"\xff\xff\xff\xff", "cut short"),
        (b"PFENGINE" + (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"[]", "damaged"),
    ],
    ids=["other", "format", "length", "json"],
)
def test_what_is_no_engine_is_removed(cache: EngineCache, content: bytes, reason: str) -> None:
    path = cache.save(KEY, PAYLOAD)
    path.write_bytes(content)
    assert key_of(path) is None
    assert reason in cache.load(KEY).reason
    assert not path.exists()


def test_a_header_that_lies_about_its_length_is_found(cache: EngineCache) -> None:
    path = cache.save(KEY, PAYLOAD)
    path.write_bytes(path.read_bytes() + b"more")
    assert "1028 of 1024 bytes" in cache.load(KEY).reason


def test_the_header_is_text_for_people(cache: EngineCache) -> None:
    content = cache.save(KEY, PAYLOAD).read_bytes()
    length = int.from_bytes(content[12:16], "little")
    assert json.loads(content[16 : 16 + length])["key"]["gpu"] == "NVIDIA RTX A4000"


def test_what_was_used_longest_ago_makes_room(cache: EngineCache) -> None:
    keys = [replace(KEY, model_sha256=f"{n:064}") for n in range(4)]
    for age, key in enumerate(keys[:3]):
        os.utime(cache.save(key, PAYLOAD), (1000 + age, 1000 + age))
    cache.load(keys[0])  # now the newest
    cache.save(keys[3], PAYLOAD)
    assert [cache.load(key).payload is not None for key in keys] == [True, False, True, True]
    assert sum(one.stat().st_size for one in cache.folder.iterdir()) <= 5500


def test_one_larger_than_the_cache_is_kept_alone(cache: EngineCache) -> None:
    cache.save(replace(KEY, model_sha256="0"), PAYLOAD)
    cache.save(KEY, bytes(8000))
    assert cache.load(KEY).payload == bytes(8000)
    assert len(list(cache.folder.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot keep.*PARFOCAL_CACHE"):
        EngineCache(tmp_path / "file").save(KEY, PAYLOAD)


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {}, Path.home() / ".cache" / "parfocal"),
        ("linux", {"XDG_CACHE_HOME": "/scratch"}, Path("/scratch/parfocal")),
        ("linux", {"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache" / "parfocal"),
        ("darwin", {}, Path.home() / "Library" / "Caches" / "parfocal"),
        ("win32", {"LOCALAPPDATA": "C:/L"}, Path("C:/L/parfocal/Cache")),
        ("win32", {"PARFOCAL_CACHE": "D:/mine"}, Path("D:/mine")),
    ],
)
def test_the_folder_is_the_one_of_the_system(
    platform: str, environment: dict[str, str], folder: Path
) -> None:
    assert cache_folder(environment, platform) == folder / "engines"
