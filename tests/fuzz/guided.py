"""One target under atheris, which looks for inputs that reach new code.

`guided.py TARGET ARGUMENTS…`: the arguments are libFuzzer's. tests/fuzz/long.py starts it.
libFuzzer ends the process itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

root = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(root), str(root / "tests/library")]
with atheris.instrument_imports(include=["wharfinger.token_server", "yaml", "urllib.parse"]):
    from tests.fuzz import targets

if __name__ == "__main__":
    target = targets.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
