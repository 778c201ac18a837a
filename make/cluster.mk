# The cluster: images, kind, platform, end-to-end tests. Included by the Makefile.
#
# Everything that comes from outside is a variable, so a site without internet names its own copies:
# a manifest is a URL, a file or a kustomize directory. Where ../shared/lab lies beside the checkout,
# its node image, manifests and commands are the defaults.

CLUSTER ?= sluice
LAB_DIR ?= $(wildcard ../shared/lab)
OVERLAY ?= kind
VERSION ?= 0.1.0
# A site pins its own bases here, by digest; both have the same Python minor version.
PYTHON_BASE ?= python:3.11-slim
TORCH_BASE ?= pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime
DOCKER_BUILD_FLAGS ?= $(if $(LAB_DIR),--network host)

CERT_MANAGER_VERSION ?= v1.18.2
ENVOY_GATEWAY_VERSION ?= v1.8.1
KSERVE_VERSION ?= v0.20.0
JOBSET_VERSION ?= v0.12.0
TRAINER_VERSION ?= v2.3.0
PROMETHEUS_OPERATOR_VERSION ?= v0.85.0
KFP_VERSION ?= 2.17.0

ifneq ($(LAB_DIR),)
  LAB_YAML := $(shell . $(LAB_DIR)/env 2>/dev/null; echo $$LAB/yaml)
  CERT_MANAGER_MANIFEST ?= $(LAB_YAML)/certmanager.yaml
  GATEWAY_API_MANIFEST ?= $(LAB_YAML)/gatewayapi.yaml
  ENVOY_GATEWAY_CRDS ?= $(LAB_YAML)/envoygw-crds.yaml
  ENVOY_GATEWAY_MANIFEST ?= $(LAB_YAML)/envoygw.yaml
  KSERVE_CRDS ?= $(LAB_YAML)/kserve-crds.yaml
  KSERVE_MANIFEST ?= $(LAB_YAML)/kserve.yaml
  JOBSET_MANIFEST ?= $(LAB_YAML)/jobset.yaml
  TRAINER_MANIFEST ?= $(LAB_YAML)/trainer.yaml
  PROMETHEUS_OPERATOR_MANIFEST ?= $(LAB_YAML)/promop.yaml
  # tests hold our objects against the schemas in there
  export SLUICE_PLATFORM_MANIFESTS ?= $(LAB_YAML)
  # KFP's backend has no published package; name a directory to install one.
  KFP_CRDS ?=
  KFP_MANIFEST ?=
else
  GITHUB ?= https://github.com
  CERT_MANAGER_MANIFEST ?= $(GITHUB)/cert-manager/cert-manager/releases/download/$(CERT_MANAGER_VERSION)/cert-manager.yaml
  # Envoy Gateway's own file carries its CRDs and those of the Gateway API.
  GATEWAY_API_MANIFEST ?=
  ENVOY_GATEWAY_CRDS ?=
  ENVOY_GATEWAY_MANIFEST ?= $(GITHUB)/envoyproxy/gateway/releases/download/$(ENVOY_GATEWAY_VERSION)/install.yaml
  KSERVE_CRDS ?=
  KSERVE_MANIFEST ?= $(GITHUB)/kserve/kserve/releases/download/$(KSERVE_VERSION)/kserve.yaml
  JOBSET_MANIFEST ?= $(GITHUB)/kubernetes-sigs/jobset/releases/download/$(JOBSET_VERSION)/manifests.yaml
  TRAINER_MANIFEST ?= $(GITHUB)/kubeflow/trainer.git/manifests/overlays/manager?ref=$(TRAINER_VERSION)
  PROMETHEUS_OPERATOR_MANIFEST ?= $(GITHUB)/prometheus-operator/prometheus-operator/releases/download/$(PROMETHEUS_OPERATOR_VERSION)/bundle.yaml
  KFP_CRDS ?= $(GITHUB)/kubeflow/pipelines/manifests/kustomize/cluster-scoped-resources?ref=$(KFP_VERSION)
  KFP_MANIFEST ?= $(GITHUB)/kubeflow/pipelines/manifests/kustomize/env/platform-agnostic?ref=$(KFP_VERSION)
endif
export CLUSTER LAB_DIR OVERLAY VERSION PYTHON_BASE TORCH_BASE DOCKER_BUILD_FLAGS CERT_MANAGER_MANIFEST GATEWAY_API_MANIFEST ENVOY_GATEWAY_CRDS \
  ENVOY_GATEWAY_MANIFEST KSERVE_CRDS KSERVE_MANIFEST JOBSET_MANIFEST TRAINER_MANIFEST PROMETHEUS_OPERATOR_MANIFEST KFP_CRDS KFP_MANIFEST

.PHONY: images sbom kind-up kind-down platform

images: ## build the images, print their sizes, load them into kind
	@make/images

sbom: setup ## a CycloneDX bill of materials for each lock, under build/sbom
	@make/sbom

kind-up: ## from a machine with Docker to a kind cluster with Sluice working on it
	@make/kind-up

platform: ## the platform alone, on the current kubectl context
	@make/platform

kind-down: ## delete the kind cluster
	@make/kind-down

.PHONY: e2e
e2e: setup ## end-to-end tests against the cluster of the current kubectl context
	@SLUICE_E2E=1 $(BIN)/python -m pytest tests/e2e tests/integration/rollouts/cluster -q -rs -m e2e -n 3 --durations=12
