"""All models at a glance: which version serves, how it is doing, what is on the way."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.panels import board, choice, graph, listing, number

ME = 'namespace=~"$namespace"'
NOW = "$__rate_interval"


def fleet() -> Dashboard:
    made = board(
        "sluice-fleet",
        "Sluice / Fleet",
        "Every model of an environment: traffic, errors, latency, drift, quality and what is on the way.",
        choice("namespace", "Environment", "label_values(sluice_model_info, namespace)"),
    )
    quality = f"min by (model) (sluice_model_quality{{{ME}}})"
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Models", f"count(count by (model) (sluice_model_info{{{ME}}}))"))
        .with_panel(number("Requests a second", f"sum(rate(sluice_inference_requests_total{{{ME}}}[{NOW}]))", unit="reqps"))
        .with_panel(number("Drifted", f"count(max by (model) (sluice_monitor_drifted{{{ME}}}) == 1)", bad=1, none="0"))
        .with_panel(
            number(
                "Under the floor",
                f"count(max by (model) (sluice_monitor_degraded{{{ME}}}) == 1)",
                bad=1,
                none="0",
                about="Of the models with labels.",
            )
        )
        .with_panel(number("Retraining", f"count(sluice_retraining_begun_timestamp_seconds{{{ME}}})", none="0"))
        .with_panel(
            number(
                "Rollouts on the way", f'count(sluice_rollout_phase{{{ME},phase!~"Succeeded|RolledBack|Superseded|Failed"}} == 1)', none="0"
            )
        )
        .with_row(Row("Models"))
        .with_panel(listing("Versions that serve", f"max by (model, version) (sluice_model_info{{{ME}}})"))
        .with_panel(
            graph(
                "Requests", (f"sum by (model) (rate(sluice_inference_requests_total{{{ME}}}[{NOW}]))", "{{model}}"), unit="reqps", width=12
            )
        )
        .with_panel(
            graph(
                "Inference time, p99",
                (
                    f"histogram_quantile(0.99, sum by (model, le) (rate(sluice_inference_duration_seconds_bucket{{{ME}}}[{NOW}])))",
                    "{{model}}",
                ),
                unit="s",
                width=12,
            )
        )
        .with_panel(graph("Server errors", (f"max by (model) (sluice:errors:ratio_rate5m{{{ME}}})", "{{model}}"), unit="percentunit"))
        .with_panel(graph("Drift", (f"max by (model) (sluice_drift_score{{{ME}}})", "{{model}}"), about="Of the feature that moved most."))
        .with_panel(graph("Quality", (quality, "{{model}}"), zero=False))
    )
