"""The same work as a plain script, with nothing of ours around it: load, split, train the same network, export, evaluate, register.

Run as ``python -m tests.bench.plain_line EPOCHS WIDTH``. No gate, no proof, no canary, nothing that can be resumed or reproduced.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def train(images: Any, labels: Any, epochs: int, width: int) -> Any:
    """The digits network of ours, by the loop of torch's own tutorial. `images`: UINT8 [rows, 1, 8, 8]."""
    import torch

    from sluice.learners.torch.images.models import Pixels, SmallCNN

    torch.manual_seed(17)
    model = Pixels(SmallCNN(1, (8, 8), width, 10, 0.0), [0.3], [0.4])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
    return model.eval()


def main(epochs: int, width: int) -> None:
    """Do it in a folder that is thrown away; prints the accuracy and the seconds by part."""
    start = time.perf_counter()
    import mlflow
    import numpy as np
    import onnxruntime
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    took = {"import": time.perf_counter() - start}

    def lap(part: str) -> None:
        took[part] = time.perf_counter() - start - sum(took.values())

    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target)
    inside, outside = train_test_split(np.arange(len(images)), test_size=0.2, random_state=17)
    model = train(images[inside], labels[inside], epochs, width)
    lap("train")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.onnx"))
        torch.onnx.export(model, (images[:2],), path, dynamo=True, dynamic_shapes=({0: "rows"},), external_data=False, verbose=False)
        lap("export")
        session = onnxruntime.InferenceSession(path)
        (logits,) = session.run(None, {session.get_inputs()[0].name: images[outside].numpy()})
        accuracy = float((logits.argmax(1) == labels[outside].numpy()).mean())
        lap("evaluate")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("digits", artifact_location=Path(folder, "artifacts").as_uri()))
        with mlflow.start_run() as run:
            mlflow.log_params({"epochs": epochs, "width": width})
            mlflow.log_metric("accuracy", accuracy)
            mlflow.log_artifact(path)
        client = mlflow.MlflowClient()
        client.create_registered_model("digits")
        client.create_model_version("digits", f"{run.info.artifact_uri}/model.onnx", run.info.run_id)
        lap("register")
    print(f"accuracy {accuracy:.4f}; " + ", ".join(f"{part} {seconds:.1f} s" for part, seconds in took.items()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
