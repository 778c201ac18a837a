"""The KFP face of `evaluate`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def evaluate(
    project: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    package: dsl.Input[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    base_dir: str = "",
    home: str = "",
) -> str:
    """Measure the package, as it will be served, on held-out rows, and against the champion's on the same rows.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        run_id: The tracking run to write to.
        dataset: What `preprocess` wrote.
        package: What `export_onnx` wrote.
        metrics: Every metric on the held-out rows.
        classification: The confusion matrix and the ROC curve, for the run page.
        report: Metrics with intervals, slices, calibration, the comparison.
        gate: The decision and its evidence, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.

    Returns:
        `pass` or `refuse`.
    """
    from components.evaluate.logic import run
    from sluice.core.gate import hand_on

    found = run(
        project,
        base_dir,
        home,
        run_id,
        dataset_path=dataset.path,
        package_path=package.path,
        report_path=report.path,
        gate_path=f"{gate}.json",
    )
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    for name, item in found.evidence["evaluation"]["metrics"].items():
        if item["value"] is not None:
            metrics.log_metric(name, item["value"])
    matrix = found.evidence["evaluation"].get("confusion")
    if matrix and len(matrix["labels"]) <= 50:
        classification.log_confusion_matrix(matrix["labels"], matrix["matrix"])
    curve = found.evidence["evaluation"].get("roc")
    if curve:
        classification.log_roc_curve(curve["fpr"], curve["tpr"], curve["threshold"])
    return found.decision if found.decision != "inconclusive" else "pass"
