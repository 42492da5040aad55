"""Programs that tests need and that are no Python modules."""

import os
import shutil
import subprocess
import sysconfig

import pytest


def tool(name: str) -> str:
    """The tool's path; where CI lacks one, that is a failure, elsewhere a reason to skip."""
    found = shutil.which(name, path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is missing: .ci/run has to install it")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*words: str) -> str:
    """The tool's whole output; it has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
