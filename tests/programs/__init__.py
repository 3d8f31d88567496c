"""Programs that need a process of their own, and how a test runs them."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def start(name, *arguments, **environment):
    """The program of that name, which sees the modules that the test sees; a warning ends it."""
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """What it prints, once it has ended without a fault."""
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return printed


def run(name, *arguments, **environment):
    return finish(start(name, *arguments, **environment))
