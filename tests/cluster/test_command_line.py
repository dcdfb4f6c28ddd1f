"""What the command line says of engines before anything is done."""

from pathlib import Path

import pytest

from tests.program import environment, run, write_csv

WORDS = ("download", "--region", "uk", "--agent", "A", "--out", "archive", "--csv", "calls.csv")


async def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """And nothing is made or requested."""
    write_csv(tmp_path / "calls.csv", ["CA1"])
    folder = tmp_path / "without"
    folder.mkdir()
    for name in ("dask", "distributed"):
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')\n")
    env = environment(POLYAI_API_KEY="k")
    env["PYTHONPATH"] = f"{folder}:{env['PYTHONPATH']}"
    done = await run(*WORDS, "--engine", "dask", env=env, cwd=tmp_path)
    assert done.code == 2
    assert "pip install 'bulkaudio[cluster]'" in done.stderr
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--workers", "2"), "--workers is for --engine dask"),
        (("--scheduler", "tcp://h:1"), "--scheduler is for --engine dask"),
        (("--engine", "dask", "--workers", "2", "--scheduler", "tcp://h:1"), "leave one of them"),
        (("--engine", "dask", "--scheduler", "h:8786"), "is no address of a scheduler"),
        (("--engine", "dask", "--workers", "1000"), "at most 256"),
        (("--engine", "dask", "--api-key-file", "-"), "only once"),
    ],
)
async def test_what_cannot_be_is_refused(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    """In a sentence, before the key is looked for."""
    write_csv(tmp_path / "calls.csv", ["CA1"])
    done = await run(*WORDS, *more, env=environment(), cwd=tmp_path)
    assert done.code == 2
    assert words in done.stderr
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("tls://127.0.0.1:9", 2, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        ("tcp://127.0.0.1:9", 6, "tcp://127.0.0.1:9 cannot be reached"),
    ],
)
async def test_a_scheduler_that_is_not_there_is_said_so(
    tmp_path: Path, address: str, code: int, words: str
) -> None:
    """Or one that wants certificates which nobody named; no request is made."""
    write_csv(tmp_path / "calls.csv", ["CA1"])
    env = environment(POLYAI_API_KEY="k")
    done = await run(*WORDS, "--engine", "dask", "--scheduler", address, env=env, cwd=tmp_path)
    assert done.code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "never awaited" not in done.stderr
