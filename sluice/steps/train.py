"""The step `train`: learn on the training rows."""

from __future__ import annotations

from html import escape
from typing import ClassVar

from sluice.steps.step import REST, SMALL, Evidence, Step


class Train(Step):
    """Learn on the training rows."""

    name, title, after = "train", "Training", "preprocess"
    bounds = {"resources": {"requests": SMALL, "limits": {"cpu": "4", "memory": "8Gi"}}, "timeout": "24h"}
    component = "components.train.component:train"
    gives: ClassVar = {"run_id": "Output", "model": "model", "trained": "gate", "project": "handed"}
    cached = True

    def section(self, e: Evidence) -> str:
        """The curves, what was kept and why, the folds."""
        from sluice.report.tables import table

        history, unit = e["history"], e.get("unit", "epoch")
        out = _curves(e, unit)
        plan = e.get("plan") or {}
        chosen = [
            (n.replace("_", " ") + ", automatic" * (n in plan["automatic"]), plan[n]) for n in ("batch_size", "learning_rate") if n in plan
        ]
        ended = {"patience": "stopped improving", "time": "time budget", "epochs": f"last {unit}"}.get(
            e.get("ended", ""), "stopped improving" if e.get("stopped_early") else None
        )
        facts = [
            (f"{unit}s", history[-1]["epoch"]),
            (f"kept {unit}", e["best_epoch"]),
            ("ended by", ended),
            *chosen,
            ("processes", e.get("world_size")),
            ("rows per second", history[-1].get("samples_per_second")),
            ("seconds", e.get("seconds")),
        ]
        facts = [f for f in facts if f[1] is not None]
        return out + table([f[0] for f in facts], [[f[1] for f in facts]]) + _choice(e.get("choice")) + _folds(e.get("cross_validation"))


def _curves(e: Evidence, unit: str) -> str:
    """Losses and metrics over the epochs, or rounds; where only the one that was kept has metrics, these as a table."""
    from sluice.report import svg
    from sluice.report.tables import table

    history, best = e["history"], float(e["best_epoch"])
    losses = {"training loss": "train_loss", "validation loss": "validation_loss"}
    if len(history) == 1:  # a curve of one point tells nothing
        only = history[0]
        known = [[name, only[key]] for name, key in losses.items() if only.get(key) is not None]
        known += [[f"validation {n}", v] for n, v in (only.get("validation_metrics") or {}).items() if isinstance(v, float)]
        return table(["", "value"], known, (1,)) if known else ""
    series = {name: [(float(h["epoch"]), float(h[key])) for h in history if h.get(key) is not None] for name, key in losses.items()}
    out = '<div class="grid2">' + svg.lines(series, unit, "loss", mark=best, mark_text="kept")
    last = history[-1].get("validation_metrics") or {}
    every = [k for k, v in last.items() if isinstance(v, float) and not k.endswith("loss")]
    names = every[:3]
    curves = {
        f"validation {n}": [
            (float(h["epoch"]), float(h["validation_metrics"][n])) for h in history if h["validation_metrics"].get(n) is not None
        ]
        for n in names
    }
    out += svg.lines(curves, unit, "", mark=best, mark_text="kept") + "</div>"
    if len(every) > len(names):
        out += f'<p class="note">not drawn: {escape(", ".join(every[3:]))}; {REST.format("train")}</p>'
    kept: dict[str, float] = next((h["validation_metrics"] for h in history if h["epoch"] == e["best_epoch"]), {})
    return out if last or not kept else out + table([f"validation {n}" for n in kept], [list(kept.values())])


def _choice(found: Evidence | None) -> str:
    """What was tried, how each did on rows it had not learnt, and its share in the answer."""
    from sluice.report.tables import table

    if not found:
        return ""
    models = found["models"]
    rows = [[m["name"], m["says"], m["loss"], f"{100 * m['share']:.0f} %"] for m in models]
    note = f'<p class="note">By the {escape(found["loss"])} on {found["rows"]:,} rows {escape(found["judged_on"])}, which no model that was judged by them had learnt.</p>'
    return "<h3>What was chosen, and why</h3>" + table(["model", "", found["loss"], "share"], rows, (2, 3)) + note


def _folds(found: Evidence | None) -> str:
    from sluice.report import svg
    from sluice.report.tables import Html, table

    if not found:
        return ""
    names = list(found["summary"])
    rows = [[f"fold {f['fold']}", f["rows"], *(f["metrics"].get(n) for n in names)] for f in found["folds"]]
    rows.append([Html("<b>mean</b>"), "", *(found["summary"][n]["mean"] for n in names)])
    rows.append(
        [
            f"{100 * found['confidence']:.0f} % interval",
            "",
            *(svg.between(s["low"], s["high"]) if s["low"] is not None else "" for s in found["summary"].values()),
        ]
    )
    by = f", rows of equal {found['grouped_by']} together" if found.get("grouped_by") else ""
    note = f'<p class="note">Each model was judged on the fold it was not trained on{escape(by)}; the model kept is trained on all training rows.</p>'
    return "<h3>Cross-validation</h3>" + table(["", "rows", *names], rows, range(1, len(names) + 2)) + note
