"""Networks of others come in and ours go out; what does not fit is said in one sentence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from models.building.importing import Import, export_network, import_network
from models.catalog import models_available, read_card, user_folder, weights_path
from models.errors import ModelError, PipelineError


def test_export_and_import_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_card(weights_path("nuclei"))
    files = export_network(source, tmp_path / "out")
    assert [file.name for file in files] == ["nuclei.onnx", "nuclei.md", "nuclei.licence.txt"]
    assert "BSD-3-Clause" in files[2].read_text()
    monkeypatch.setenv("PARFOCAL_MODELS", str(tmp_path / "mine"))
    about = Import("mine", "segment", diameter_px=28, licence="BSD-3-Clause")
    card = import_network(files[0], about, user_folder())
    assert card.sha256() == source.sha256()
    assert (card.task, card.diameter_px, card.precision) == ("segment", 28, "fp32")
    assert weights_path("mine") == card.path
    assert [one.name for one in models_available(user_folder())] == ["mine"]
    with pytest.raises(ModelError, match="exists; choose another name"):
        import_network(files[0], about, user_folder())
    with pytest.raises(ModelError, match="exists; choose another --out"):
        export_network(source, tmp_path / "out")


def test_a_denoiser_and_a_classifier_come_in(tmp_path: Path) -> None:
    denoiser = import_network(weights_path("denoise"), Import("d", "denoise"), tmp_path)
    assert denoiser.task == "denoise"
    about = Import("c", "classify", classes=("a", "b", "c"), crop_px=32)
    assert import_network(weights_path("phases"), about, tmp_path).classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("model", "about", "words"),
    [
        pytest.param("denoise", Import("x", "segment"), "output labels is missing", id="task"),
        pytest.param("nuclei", Import("x", "denoise"), "input state is missing", id="inputs"),
        pytest.param("phases", Import("x", "classify", classes=("a", "b")), "3 prob", id="classes"),
        pytest.param("nuclei", Import("a/b", "segment"), "without folders", id="name"),
    ],
)
def test_what_does_not_fit_is_refused(
    model: str, about: Import, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=words):
        import_network(weights_path(model), about, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_file_and_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        import_network(tmp_path / "none.onnx", Import("x", "segment"), tmp_path)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match="cannot load"):
        import_network(tmp_path / "text.onnx", Import("x", "segment"), tmp_path / "mine")


def test_a_network_that_ships_comes_before_an_imported_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARFOCAL_MODELS", str(tmp_path))
    (tmp_path / "nuclei.onnx").write_bytes(b"")
    assert weights_path("nuclei").parent.name == "weights"
    with pytest.raises(PipelineError, match="no model named 'nucleus'"):
        weights_path("nucleus")


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [
        ("win32", {"LOCALAPPDATA": "L"}, Path("L/parfocal/models")),
        ("linux", {"XDG_DATA_HOME": "/x"}, Path("/x/parfocal/models")),
        ("linux", {}, Path.home() / ".local/share/parfocal/models"),
        ("darwin", {}, Path.home() / "Library/Application Support/parfocal/models"),
        ("linux", {"PARFOCAL_MODELS": "/y"}, Path("/y")),
    ],
)
def test_the_users_folder(platform: str, given: dict[str, str], expected: Path) -> None:
    assert user_folder(given, platform) == expected


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openvino") is None, reason="an optional engine")
def test_export_for_openvino(tmp_path: Path) -> None:
    files = export_network(read_card(weights_path("phases")), tmp_path, openvino=True)
    assert files[-2].name == "phases.xml"
    text = files[-2].read_text(encoding="utf-8")
    assert all(f'name="{name}"' in text for name in ("windows", "context", "probability"))
    assert files[-1].stat().st_size > 200_000
