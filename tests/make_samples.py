"""
Make the simulator's speech samples anew: ``python tests/make_samples.py``.

Needs espeak-ng and sox. The shipped files were made by exactly this: two synthetic voices, band
limited and levelled like a telephone line, silence trimmed, 8 kHz mu-law without metadata.
"""

import subprocess
from pathlib import Path

from bulkaudio.simulator import speech

FOLDER = Path(speech.__file__).with_name("samples")
VOICES = {
    "agent": ("-v", "en-gb+f3", "-s", "200", "-p", "55"),
    "user": ("-v", "en-us+m3", "-s", "205", "-p", "40"),
}
TRIM = ("silence", "1", "0.02", "0.5%", "reverse")


def make(phrase: speech.Phrase) -> None:
    """Speak one phrase into its file."""
    spoken = subprocess.run(
        ["espeak-ng", *VOICES[phrase.speaker], "--stdout", phrase.text],
        check=True,
        capture_output=True,
    ).stdout
    sox = ["sox", "--no-dither", "-t", "wav", "--ignore-length", "-"]
    form = ["-r", str(speech.RATE_HZ), "-c", "1", "-e", "mu-law", "-b", "8", "--comment", ""]
    line = ["highpass", "250", "lowpass", "3400", "norm", "-6", *TRIM, *TRIM]
    target = FOLDER / phrase.file_name
    subprocess.run([*sox, *form, str(target), *line], check=True, input=spoken)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for said in speech.PHRASES.values():
        make(said)
