"""Write the bytecode of a tree of Python sources. Runs under the image's own interpreter.

Usage: compile.py ROOT FOLDER… where ROOT stands for / of the image. The image is read-only: a file
that is not compiled here would be compiled again at every start and every health check.
Unchecked-hash files (PEP 552) contain no time, and Python compares nothing when it imports them.
"""

import py_compile
import sys
from pathlib import Path

root = Path(sys.argv[1])
for folder in sys.argv[2:]:
    # Sorted, because strings interned while a file is compiled can change the next file's bytes.
    for source in sorted((root / folder).rglob("*.py")):
        try:
            py_compile.compile(
                str(source),
                dfile=f"/{source.relative_to(root)}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            sys.exit(f"{source.relative_to(root)}: {error.msg.strip()}")
