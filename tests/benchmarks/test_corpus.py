"""The recordings that are served."""

import wave
from pathlib import Path

from tests.benchmarks.corpus import Corpus


def made(tmp_path: Path) -> Corpus:
    """Return three short recordings."""
    corpus = Corpus(folder=tmp_path / "site", count=3, seconds=0.5)
    corpus.write()
    return corpus


def test_recordings_are_telephone_speech_in_form_and_differ(tmp_path: Path) -> None:
    """8 kHz, 16 bit, mono; of the size that was announced; no two the same."""
    corpus = made(tmp_path)
    paths = [corpus.served(id_) for id_ in corpus.ids]
    for path in paths:
        assert path.stat().st_size == corpus.file_bytes
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
            assert file.getnframes() == 4000
    assert len({path.read_bytes() for path in paths}) == 3
    assert corpus.total_bytes == sum(path.stat().st_size for path in paths)


def test_whoever_saved_less_is_found_out(tmp_path: Path) -> None:
    """Missing and short files always, other bytes where bytes are compared."""
    corpus = made(tmp_path)
    saved = [tmp_path / id_ for id_ in corpus.ids]
    assert corpus.fault(saved, by_bytes=False) == "saved 0 of 3"
    for id_, path in zip(corpus.ids, saved, strict=True):
        path.write_bytes(corpus.served(id_).read_bytes())
    assert corpus.fault(saved, by_bytes=True) is None
    saved[0].write_bytes(saved[0].read_bytes()[:-1])
    assert corpus.fault(saved, by_bytes=False) == "saved 2 of 3"
    saved[0].write_bytes(saved[1].read_bytes())
    assert corpus.fault(saved, by_bytes=False) is None
    assert corpus.fault(saved, by_bytes=True) == "saved 2 of 3"
