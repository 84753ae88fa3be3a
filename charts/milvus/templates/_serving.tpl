{{/* The client Service and Ingress, as fields of the component that clients reach. */}}
{{- define "milvus.serving" -}}
{{- $made := dict "serviceType" .Values.service.type "port" (int .Values.service.port) }}
{{- with .Values.service.annotations }}{{ $_ := set $made "serviceAnnotations" . }}{{ end }}
{{- with .Values.service.labels }}{{ $_ := set $made "serviceLabels" . }}{{ end }}
{{- if .Values.ingress.enabled }}
{{- $ingress := pick .Values.ingress "labels" "annotations" }}
{{- with .Values.ingress.className }}{{ $_ := set $ingress "ingressClassName" . }}{{ end }}
{{- $hosts := default list .Values.ingress.hosts }}
{{- range .Values.ingress.rules }}{{ $hosts = append $hosts .host }}{{ end }}
{{- if not $hosts }}{{ fail "values: ingress.enabled needs ingress.hosts or ingress.rules[].host" }}{{ end }}
{{- $_ := set $ingress "hosts" ($hosts | uniq) }}
{{- $secrets := dict }}
{{- range .Values.ingress.tls }}{{ $_ := set $secrets .secretName .hosts }}{{ end }}
{{- if $secrets }}{{ $_ := set $ingress "tlsSecretRefs" $secrets }}{{ end }}
{{- $_ := set $made "ingress" $ingress }}
{{- end }}
{{- toYaml $made }}
{{- end }}
