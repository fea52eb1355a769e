{{- /* A map as TOML: `table` at `path`. Helm's toToml writes whole numbers as fractions. */ -}}
{{- define "zengate.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) -}}
{{ include "zengate.toml.key" $key }} = {{ include "zengate.toml.value" $value }}
{{ end -}}
{{- end -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value }}
{{- $inner := append $path (include "zengate.toml.key" $key) }}
[{{ join "." $inner }}]
{{ include "zengate.toml" (dict "path" $inner "table" $value) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "zengate.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- define "zengate.toml.value" -}}
{{- if kindIs "slice" . -}}
[{{ range $at, $item := . }}{{ if $at }}, {{ end }}{{ include "zengate.toml.value" $item }}{{ end }}]
{{- else if or (kindIs "string" .) (kindIs "bool" .) -}}
{{ toJson . }}
{{- else if eq (float64 .) (float64 (int64 .)) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}
