"""`sluice audit`."""

from __future__ import annotations

import argparse
import sys

from sluice.audit.log import open_log
from sluice.audit.verify import Fault, verify
from sluice.cli import show_json
from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.registry import story
from sluice.registry.references import registry_of
from sluice.registry.versions import RegistryFault
from sluice.registry.witness import begun_anew, disagreements

#: What is asked in place of a model: whether the log is whole.
VERIFY = "verify"
WHOLE, CHANGED = 0, 3


def audit(args: argparse.Namespace) -> int:
    """The story of a model; of ``verify`` the state of the log. Ends with 3 where the log is not what was written."""
    home = Home(args.home)
    if args.model == VERIFY:
        return _verify(home, args)
    told = story.tell(args.model, registry_of(home), open_log(home), home)
    if args.html:
        files.write_text(args.html, story.html(told))
    if args.json:
        show_json(told.to_dict())
    elif not args.html:
        print(story.text(told))
    else:
        print(args.html)
    return CHANGED if told.faults else WHOLE


def _verify(home: Home, args: argparse.Namespace) -> int:
    log = open_log(home)
    lines, head = log.read()
    apart: list[Fault] = []
    try:
        registry = registry_of(home)
        models = registry.models()
        named = story.named(registry, models)
        read = story.readable(lines)
        apart = begun_anew(named, log.identity(), models)
        apart += [
            f for m in sorted({*models, *(r.entry.model for r in read if r.entry.model)}) for f in disagreements(m, registry, read, home)
        ]
    except ProjectError:  # nothing was run here: there is no registry that could name a record
        named = []
    except RegistryFault as e:
        print(f"sluice: the registry's part was not looked at: {e.message}", file=sys.stderr)
        named = []
    faults = [*verify(lines, head, named), *apart]
    mine = [a for a in named if a.log == log.identity()]
    if args.json:
        said = [{"record": f.sequence, "what": f.what} for f in faults]
        show_json({"log": log.where, "records": len(lines), "whole": not faults, "faults": said, "named_by_registry": len(mine)})
        return CHANGED if faults else WHOLE
    for fault in faults:
        print(fault)
    if faults:
        print(f"{log.where}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'} in {len(lines)} records")
        return CHANGED
    head_said = f"the head names {head.sequence}" if head else "empty"
    print(
        f"{log.where}: {len(lines)} records, every one as it was written; {head_said}, {len(mine)} are named by the registry, which agrees"
    )
    return WHOLE
