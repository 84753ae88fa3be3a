{{- define "redkite.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "redkite.selector" -}}
app.kubernetes.io/name: redkite-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redkite.labels" -}}
{{ include "redkite.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "redkite.image" -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end }}
