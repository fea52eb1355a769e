{{- define "zengate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for what is put behind it. */ -}}
{{- define "zengate.fullname" -}}
{{- $name := include "zengate.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* What objects of one component of this release are found by: `(list . "gateway")`. */ -}}
{{- define "zengate.found" -}}
app.kubernetes.io/name: {{ include "zengate.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "zengate.selector" -}}
{{ include "zengate.found" (list . "gateway") }}
{{- end -}}

{{- /* Of an object; `component` says which part it belongs to. */ -}}
{{- define "zengate.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/name" (include "zengate.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/component" .component
  "app.kubernetes.io/part-of" "zengate"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- merge $own (default dict .more) .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "zengate.serviceAccount" -}}
{{- default (ternary (include "zengate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "zengate.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end -}}

{{- /* "true" where more than one pod serves. */ -}}
{{- define "zengate.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}
