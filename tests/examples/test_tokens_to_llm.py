from __future__ import annotations

import os
import re
import subprocess
import sys

from conftest import REPO


def test_the_example_runs_without_a_language_model(weights_with_tokens):
    result = subprocess.run(
        [sys.executable, REPO / "examples/tokens_to_llm.py", "--weights", weights_with_tokens],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert result.returncode == 0, result.stderr
    assert "prompt (1, 33, 256) = 3 + 24 + 6" in result.stdout
    assert re.search(r"<code_\d+> \d+ \d+ \d+ \d+", result.stdout)
    assert "51 times as many" in result.stdout
