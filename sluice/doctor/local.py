"""This machine: Python, packages, disk, and the home with its store."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata

from sluice import __version__
from sluice.core import files
from sluice.core.errors import HomeError
from sluice.core.home import Home
from sluice.doctor import machine
from sluice.doctor.finding import Finding, Look, fault, note, ok

#: What a road needs -> (package, the version it must be or empty, who needs it, the extra that brings it).
_PACKAGES = (
    ("torch", "", "sluice run", "train"),
    ("onnxruntime", "", "sluice run, serve and predict", "serve"),
    ("mlflow", "", "sluice run and models", "tracking"),
    ("kfp", "2.17.0", "sluice run, compile and submit", "pipelines"),
    ("kfp-kubernetes", "2.17.0", "sluice compile and submit", "pipelines"),
    ("kubernetes", "", "sluice submit, rollout and doctor on a cluster", "cluster"),
    ("boto3", "", "s3:// sources and stores", "s3"),
)
#: Bytes under which a run is likely to fail, and under which that is worth a word.
_FULL, _TIGHT = 1 << 30, 5 << 30


def looks(home: Home) -> list[Look]:
    """What is looked at here."""
    return [
        Look("python", python),
        Look("packages", packages),
        Look("memory", machine.memory),
        Look("disk", lambda: disk(home)),
        Look("home", lambda: writable(home)),
        Look("Envoy", machine.envoy),
        Look("ports", machine.ports),
    ]


def python() -> Finding:
    """Whether this Python is one that is tested."""
    version = sys.version.split()[0]
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return ok("python", f"{version}, sluice {__version__}")
    return fault("python", f"{version} is not one of 3.11 and 3.12", "make setup PYTHON=3.11, or a virtual environment of one of them")


def packages() -> list[Finding]:
    """A line for all that is there, and one for each that is not, or is another version than Sluice is written for."""
    here, found = [], []
    for name, wanted, who, extra in _PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(
                note(
                    "packages",
                    f"{name} is not installed, which {who} need{'s' if ' and ' not in who and ',' not in who else ''}",
                    f"pip install 'sluice-ml[{extra}]'",
                )
            )
            continue
        if wanted and version != wanted:
            found.append(fault("packages", f"{name} is {version}; pipelines are compiled with {wanted}", f"pip install '{name}=={wanted}'"))
        else:
            here.append(f"{name} {version}")
    return [ok("packages", ", ".join(here) or "none of the optional ones"), *found]


def disk(home: Home) -> Finding:
    """How much room there is where the home lies, or will."""
    place = home.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    said = f"{free / 2**30:.1f} GiB free at {place}"
    if free < _FULL:
        return fault("disk", said, "free some space, or --home DIR on a larger disk")
    return note("disk", f"{said}: enough for small models") if free < _TIGHT else ok("disk", said)


def writable(home: Home) -> Finding:
    """The home, and its store, take a file and give it back."""
    there = home.root.exists()
    try:
        home.create()
        for folder in [f for f in (home.root, home.store) if f.is_dir()]:
            probe = folder / ".doctor"
            files.write_text(probe, "x")
            probe.unlink()
    except OSError as e:
        from sluice.core.home import explain_os_error

        why = explain_os_error(e, home.root)
        return fault("home", f"{why.field}: {why.message}", why.fix or "")
    except HomeError as e:
        return fault("home", f"{e.field}: {e.message}", e.fix or "")
    if home.held():
        return note("home", f"{home.root} can be written; a run holds it now")
    return ok("home", f"{home.root} can be written" + ("" if there else " (made now)"))
