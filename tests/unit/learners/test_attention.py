"""Fused attention answers and learns as the plain one does, and is chosen where nothing has to repeat itself bit for bit."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from sluice.learners.torch import attention
from sluice.learners.torch.config import TrainConfig
from sluice.learners.torch.texts.encoders import PretrainedClassifier, SmallClassifier
from sluice.tasks.config import TextModel

BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.tensor([[2, 7, 9, 3, 0, 0], [2, 5, 8, 11, 13, 3]])


def small() -> nn.Module:
    return SmallClassifier(50, 3, TextModel(hidden=16, heads=2, layers=2, max_length=32, dropout=0.0))


def pretrained() -> nn.Module:
    return PretrainedClassifier(BERT, 3, TextModel(dropout=0.0))


@pytest.mark.parametrize("made", [small, pretrained])
def test_answers_and_gradients_are_those_of_the_plain_form(made) -> None:
    torch.manual_seed(3)
    plain = made().train()
    fused = made().train()
    fused.load_state_dict(plain.state_dict())
    assert attention.fuse(fused) >= 1
    found = []
    for model in (plain, fused):
        out = model(IDS, (IDS != 0).long())
        out.square().sum().backward()
        found.append((out.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (a, grads), (b, others) = found
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert grads.keys() == others.keys() and len(grads) > 10
    for name, grad in grads.items():
        torch.testing.assert_close(grad, others[name], rtol=1e-3, atol=1e-5, msg=name)


def test_fused_kernels_are_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    real = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", lambda *a, **k: called.append(1) or real(*a, **k))
    for made in (small, pretrained):
        model = made()
        model(IDS, (IDS != 0).long())
        assert not called, "the plain form calls none"
        attention.fuse(model)
        model(IDS, (IDS != 0).long())
        assert len(called) == 2, "one a layer"
        called.clear()


def test_it_is_chosen_on_a_gpu_that_need_not_repeat_itself() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert not attention.wanted(TrainConfig(), cuda) and not attention.wanted(TrainConfig(deterministic=False), cpu)
    assert attention.wanted(TrainConfig(deterministic=False), cuda)
    assert not attention.wanted(TrainConfig(deterministic=False, attention="plain"), cuda)
    assert attention.wanted(TrainConfig(device="cpu", attention="fused"), cpu)
    with pytest.raises(ValidationError, match="set deterministic: false"):
        TrainConfig(attention="fused")
    assert "attention" not in TrainConfig().model_dump(), "projects that do not say it keep their digest"
