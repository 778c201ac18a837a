"""What prompts cost, how they answer, and how their endpoints do."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from manifests.monitoring.dashboards.models import ME, NOW, quantile
from manifests.monitoring.dashboards.panels import board, choice, graph, number

BY, LEGEND = "sum by (model, version)", "{{model}} {{version}}"


def rate(name: str, by: str = BY, more: str = "") -> str:
    return f"{by} (rate({name}{{{ME}{more}}}[{NOW}]))"


def prompts() -> Dashboard:
    answers = rate("sluice_llm_answers_total")
    made = board(
        "sluice-prompts",
        "Sluice / Prompts",
        "Answers, cost, first token, refusals, unsupported claims and endpoint failures of every prompt by version.",
        choice("namespace", "Environment", "label_values(sluice_llm_answers_total, namespace)"),
        choice("model", "Prompt", 'label_values(sluice_llm_answers_total{namespace=~"$namespace"}, model)'),
    )
    return (
        made.with_row(Row("Now"))
        .with_panel(number("Answers a second", rate("sluice_llm_answers_total", "sum"), unit="reqps"))
        .with_panel(
            number("Cost an hour", f"3600 * {rate('sluice_llm_answer_cost_sum', 'sum')}", about="In the currency of the packages' prices.")
        )
        .with_panel(
            number(
                "No answer",
                f"sum(sluice:llm_failures:ratio_rate10m{{{ME}}})",
                unit="percentunit",
                warn=0.01,
                bad=0.05,
                about="Of questions: the endpoint failed, or what it said does not fit the schema.",
            )
        )
        .with_panel(
            number("First token, p95", f"max(sluice:llm_first_token:p95_10m{{{ME}}} > 0)", unit="s", warn=2, bad=5, about="Of streams.")
        )
        .with_panel(
            number(
                "Unsupported claims",
                f"max(sluice:llm_unsupported:mean1h{{{ME}}})",
                unit="percentunit",
                warn=0.15,
                bad=0.3,
                about="Of a sample of answers with sources, over an hour; by words, numbers and names.",
            )
        )
        .with_panel(
            number("Endpoints left alone", f"sum(sluice_llm_breaker_open{{{ME}}})", warn=1, bad=2, about="Workers whose breaker is open.")
        )
        .with_row(Row("Answers"))
        .with_panel(graph("Answers by version", (answers, LEGEND), unit="reqps"))
        .with_panel(
            graph(
                "No answer, by reason", (rate("sluice_llm_failures_total", "sum by (model, reason)"), "{{model}} {{reason}}"), unit="reqps"
            )
        )
        .with_panel(
            graph(
                "Refusals",
                (f"{rate('sluice_llm_refusals_total')} / {answers}", LEGEND),
                unit="percentunit",
                about="By rules; English and German.",
            )
        )
        .with_panel(
            graph(
                "Unsupported claims",
                (f"{rate('sluice_llm_unsupported_share_sum')} / {rate('sluice_llm_unsupported_share_count')}", LEGEND),
                unit="percentunit",
                about="Mean share of claims that the sources do not support.",
            )
        )
        .with_panel(
            graph("Flagged answers", (rate("sluice_llm_flagged_total", "sum by (model, rule)"), "{{model}} {{rule}}"), unit="reqps")
        )
        .with_panel(
            graph(
                "Thumbs",
                (f"{rate('sluice_feedback_outcome_sum')} / {rate('sluice_feedback_outcomes_total')}", LEGEND),
                zero=False,
                about="Mean outcome that feedback told.",
            )
        )
        .with_row(Row("Cost and time"))
        .with_panel(graph("Cost an answer", (f"{rate('sluice_llm_answer_cost_sum')} / {rate('sluice_llm_answer_cost_count')}", LEGEND)))
        .with_panel(graph("Tokens a second", (rate("sluice_llm_tokens_total", "sum by (model, direction)"), "{{model}} {{direction}}")))
        .with_panel(graph("Attempts an answer", (f"{rate('sluice_llm_attempts_total')} / {answers}", LEGEND)))
        .with_panel(graph("First token, p95", (quantile(0.95, "sluice_llm_first_token_seconds"), LEGEND), unit="s"))
        .with_panel(
            graph("Endpoint, p95", (quantile(0.95, "sluice_llm_call_seconds"), LEGEND), unit="s", about="With all attempts and waits.")
        )
        .with_panel(
            graph(
                "Drift of questions",
                (f"max by (model, feature) (sluice_drift_score{{{ME}}})", "{{model}} {{feature}}"),
                about="Of each variable against the golden set, as a monitor counts it.",
            )
        )
    )
