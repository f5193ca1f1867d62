"""Errors of whatever an environment of PyLate cannot do; here the release is only said to be its."""

import pytest
from assertions import assert_bilingual

from korag import CrossEncoderReranker, load_encoder
from korag.encoders import releases
from korag.errors import CheckpointError, MissingDependencyError
from korag.training import finetune


@pytest.fixture(autouse=True)
def in_an_environment_of_pylate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "is_pylates", lambda: True)
    monkeypatch.setattr(releases, "version", lambda _: "5.3.0")


def test_what_takes_the_newest_release(tmp_path, chat_cross_encoder_folder) -> None:
    for use, part in (
        (lambda: load_encoder("mini-dense", backend="onnx"), "backend='onnx'"),
        (lambda: finetune("mini-dense", [("질문", "본문")], tmp_path / "trained"), "5.3.0"),
    ):
        with pytest.raises(MissingDependencyError) as caught:
            use()
        assert_bilingual(caught.value, part, "PyLate", "6.2")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(CheckpointError) as refused:
        CrossEncoderReranker(chat_cross_encoder_folder)
    assert_bilingual(refused.value, "sentence_transformers.", "PyLate", "6.2")
