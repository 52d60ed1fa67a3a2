"""What git says, also where it knows no commit: a ZIP download, a clone of another user, a machine without git."""

import os
import subprocess

from scripts import ROOT
from scripts.cells import dvc

SETTING = "core.no_scm"  # of DVC: works without git
NO_CLONE = "this is no git clone (a ZIP download?)"


def git(*arguments: str) -> str:
    """What git prints; nothing where it fails, or where there is none."""
    done = _git(*arguments)
    return done.stdout if done and not done.returncode else ""


def _git(*arguments: str) -> subprocess.CompletedProcess | None:
    options = {"cwd": ROOT, "env": os.environ | {"LC_ALL": "C"}, "capture_output": True, "encoding": "utf-8"}
    try:
        return subprocess.run(["git", *arguments], **options)
    except FileNotFoundError:
        return None


def none_because() -> str:
    """Why there is no commit to compare with and what to do, in a line; empty where there is one."""
    if (done := _git("rev-parse", "--verify", "HEAD")) is None:
        return "git is not installed"
    if not done.returncode:
        return ""
    if "dubious ownership" in done.stderr:
        return f'the clone is another user\'s; git config --global --add safe.directory "{ROOT}" lets git read it'
    return NO_CLONE if "not a git repository" in done.stderr else "nothing is committed yet"


def let_dvc_do_without() -> str:
    """Tells DVC whether there is git, without which it would fail; returns what :func:`none_because` does."""
    reason, local = none_because(), ROOT / ".dvc/config.local"
    configured = local.exists() and "no_scm" in local.read_text(encoding="utf-8")
    if reason == NO_CLONE and not configured:
        dvc("config", "--local", SETTING, "true", cwd=ROOT)
    elif configured and (ROOT / ".git").exists():
        dvc("config", "--local", "--unset", SETTING, cwd=ROOT)
    return reason
