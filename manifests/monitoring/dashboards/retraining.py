"""How models are watched and trained again: what has been read, what asked, what it came to."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, number

ME = 'namespace=~"$namespace",model=~"$model"'


def retraining() -> Dashboard:
    legend = "{{namespace}}/{{monitor}}"
    made = board(
        "sluice-retraining",
        "Sluice / Watching and retraining",
        "What monitors have read, what they found, and which retrainings came of it.",
        choice("namespace", "Environment", "label_values(sluice_monitor_rows_total, namespace)"),
        choice("model", "Model", 'label_values(sluice_monitor_rows_total{namespace=~"$namespace"}, model)'),
    )
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Monitors", f"count(sluice_retraining_failures{{{ME}}})"))
        .with_panel(number("Drifted", f"count(max by (monitor) (sluice_monitor_drifted{{{ME}}}) == 1)", bad=1, none="0"))
        .with_panel(
            number(
                "Behind",
                f"time() - min(sluice_monitor_caught_up_timestamp_seconds{{{ME}}})",
                unit="s",
                warn=1800,
                bad=3600,
                about="Since the slowest monitor read its log to the end.",
            )
        )
        .with_panel(
            number(
                "Since the last label", f"time() - max(sluice_monitor_label_timestamp_seconds{{{ME}}})", unit="s", warn=86400, bad=172800
            )
        )
        .with_panel(number("Retraining", f"count(sluice_retraining_begun_timestamp_seconds{{{ME}}})", none="0"))
        .with_panel(number("Failed in a row", f"max(sluice_retraining_failures{{{ME}}})", warn=1, bad=2))
        .with_row(Row("Watching"))
        .with_panel(graph("Predictions read", (f"sum by (namespace, monitor) (sluice_monitor_rows_total{{{ME}}})", legend)))
        .with_panel(graph("Windows judged", (f"sum by (namespace, monitor) (sluice_monitor_windows_total{{{ME}}})", legend)))
        .with_panel(graph("Labelled rows", (f"max by (namespace, monitor) (sluice_monitor_labelled_rows_total{{{ME}}})", legend)))
        .with_row(Row("Retraining"))
        .with_panel(
            graph(
                "Retrainings",
                (f"sum by (model, reason, outcome) (sluice_retrainings_total{{{ME}}})", "{{model}}: {{reason}}, {{outcome}}"),
                width=12,
                about="So far, by what asked for them and what they came to.",
            )
        )
        .with_panel(
            graph(
                "Time of those that go on",
                (f"time() - max by (namespace, monitor) (sluice_retraining_begun_timestamp_seconds{{{ME}}})", legend),
                unit="s",
                width=12,
            )
        )
    )
