{{- define "sluice.labels" -}}
app.kubernetes.io/part-of: sluice
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* An image by digest where one is given: (list $ "controller") */}}
{{- define "sluice.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- with $root.Values.images.registry }}{{ . }}/{{ end }}{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end }}
{{- end }}

{{- define "sluice.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The object store, empty for a claim: one that is named, or Kubeflow Pipelines' own. */}}
{{- define "sluice.store.uri" -}}
{{- if .Values.store.uri }}{{ .Values.store.uri }}{{ else if .Values.store.pipelines }}s3://mlpipeline/{{ .Release.Namespace }}{{ end }}
{{- end }}

{{- define "sluice.store.endpoint" -}}
{{- if .Values.store.endpoint }}{{ .Values.store.endpoint }}{{ else if .Values.store.pipelines }}http://minio-service.{{ .Values.networkPolicies.pipelinesNamespace }}:9000{{ end }}
{{- end }}

{{- define "sluice.store.region" -}}
{{- if .Values.store.region }}{{ .Values.store.region }}{{ else if .Values.store.pipelines }}minio{{ end }}
{{- end }}

{{/* The store's namespace, where it is in this cluster. */}}
{{- define "sluice.store.namespace" -}}
{{- if .Values.store.namespace }}{{ .Values.store.namespace }}{{ else if .Values.store.pipelines }}{{ .Values.networkPolicies.pipelinesNamespace }}{{ end }}
{{- end }}

{{/* Ports of policies: those named; else of a Service and its pod in the cluster, or HTTPS. */}}
{{- define "sluice.store.ports" -}}
{{- $ports := .Values.store.ports | default (ternary (list 9000 8333) (list 443) (ne (include "sluice.store.namespace" $) "")) }}
{{- range $ports }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{/* The Secret model servers fetch with. */}}
{{- define "sluice.store.secret" -}}
{{- if .Values.store.existingSecret }}{{ .Values.store.existingSecret }}{{ else if .Values.store.pipelines }}sluice-store{{ end }}
{{- end }}

{{/* A project's `cluster:` section for this environment, as YAML. */}}
{{- define "sluice.cluster" -}}
{{- $defaults := dict }}
{{- if not (include "sluice.store.uri" $) }}
{{- $_ := set $defaults "volumes" (list (dict "claim" "sluice-store" "mount" "/store")) }}
{{- else if .Values.store.stepsSecret.name }}
{{- $env := dict .Values.store.stepsSecret.accessKey "AWS_ACCESS_KEY_ID" .Values.store.stepsSecret.secretKey "AWS_SECRET_ACCESS_KEY" }}
{{- $_ := set $defaults "secrets" (list (dict "name" .Values.store.stepsSecret.name "env" $env)) }}
{{- else if .Values.store.existingSecret }}
{{- $env := dict "AWS_ACCESS_KEY_ID" "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SECRET_ACCESS_KEY" }}
{{- $_ := set $defaults "secrets" (list (dict "name" .Values.store.existingSecret "env" $env)) }}
{{- else if .Values.store.pipelines }}
{{- $env := dict "accesskey" "AWS_ACCESS_KEY_ID" "secretkey" "AWS_SECRET_ACCESS_KEY" }}
{{- $_ := set $defaults "secrets" (list (dict "name" "mlpipeline-minio-artifact" "env" $env)) }}
{{- end }}
{{- toYaml (mergeOverwrite (dict "defaults" $defaults) (deepCopy .Values.pipelines.cluster)) }}
{{- end }}
