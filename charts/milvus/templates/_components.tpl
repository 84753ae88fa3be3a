{{/* Probes of {livenessProbe, readinessProbe}; one without a handler asks the engine's own pages. */}}
{{- define "milvus.probes" -}}
{{- $made := dict }}
{{- range $name, $path := dict "livenessProbe" "/livez" "readinessProbe" "/healthz" }}
{{- $probe := omit (default dict (get $ $name)) "enabled" }}
{{- if $probe }}
{{- if not (or $probe.httpGet $probe.tcpSocket $probe.exec $probe.grpc) }}
{{- $_ := set $probe "httpGet" (dict "path" $path "port" 9091) }}
{{- end }}
{{- $_ := set $made $name $probe }}
{{- end }}
{{- end }}
{{- toYaml $made }}
{{- end }}

{{/* What a component and all components have in common, from the chart's names to the object's. */}}
{{- define "milvus.pods" -}}
{{- $made := pick . "resources" "nodeSelector" "tolerations" "topologySpreadConstraints" "volumes" "volumeMounts" }}
{{- $affinity := deepCopy (default dict .affinity) }}
{{- if .nodeAffinity }}{{ $_ := set $affinity "nodeAffinity" .nodeAffinity }}{{ end }}
{{- $_ := set $made "affinity" $affinity }}
{{- $_ := set $made "env" .extraEnv }}
{{- $_ := set $made "podLabels" .labels }}
{{- $_ := set $made "podAnnotations" .annotations }}
{{- $_ := set $made "probes" (include "milvus.probes" . | fromYaml) }}
{{- $security := omit (default dict .securityContext) "enabled" "fsGroup" }}
{{- $_ := set $made "securityContext" $security }}
{{- $kept := dict }}
{{- range $key, $value := $made }}{{ if $value }}{{ $_ := set $kept $key $value }}{{ end }}{{ end }}
{{- toYaml $kept }}
{{- end }}

{{/* The scaler of a component's values, as {min, max, cpu, memory}; empty when nobody asked for one. */}}
{{- define "milvus.scaler" -}}
{{- $hpa := default dict .hpa }}
{{- $own := default dict .autoscaling }}
{{- if $hpa.enabled }}
{{- toYaml (dict "min" (default 1 $hpa.minReplicas) "max" (default 5 $hpa.maxReplicas) "cpu" $hpa.cpuUtilization "memory" $hpa.memoryUtilization) }}
{{- else if $own.enabled }}
{{- toYaml (dict "min" (default 1 $own.minReplicas) "max" (default 5 $own.maxReplicas) "cpu" $own.targetCPUUtilizationPercentage "memory" $own.targetMemoryUtilizationPercentage) }}
{{- end }}
{{- end }}

{{/* One component of the object, {name, values, optional}. With a scaler the number of pods is the scaler's. The labels are those by
which selectors for Milvus's own chart look; a component that runs only if it is asked for is not named for their sake. */}}
{{- define "milvus.component" -}}
{{- $values := .values }}
{{- $made := include "milvus.pods" $values | fromYaml }}
{{- if include "milvus.scaler" $values }}{{ $_ := set $made "replicas" -1 }}
{{- else if hasKey $values "replicas" }}{{ $_ := set $made "replicas" (int $values.replicas) }}{{ end }}
{{- with (default dict $values.strategy).rollingUpdate }}{{ $_ := set $made "rollingUpdate" . }}{{ end }}
{{- if or $made (not .optional) }}
{{- $_ := set $made "podLabels" (merge (default dict $made.podLabels) (dict "component" (lower .name))) }}
{{- end }}
{{- toYaml $made }}
{{- end }}

{{/* Whether index nodes run by themselves: a tag of upstream Milvus below 2.6, where streaming nodes run only if a value asks for them. */}}
{{- define "milvus.indexes" -}}
{{- if regexMatch "^v?2\\.[0-5](\\.|$)" (toString .Values.image.all.tag) }}true{{ end }}
{{- end }}

{{/* The values of every component by its name in the object: aliases joined, the coordinators and the index node folded in. */}}
{{- define "milvus.values" -}}
{{- $all := dict }}
{{- if .Values.cluster.enabled }}
{{- $coordinator := dict }}
{{- $replicas := 0 }}
{{- range list "indexCoord" "indexCoordinator" "dataCoord" "dataCoordinator" "queryCoord" "queryCoordinator" "rootCoord" "rootCoordinator" "mixCoord" "mixCoordinator" }}
{{- $one := deepCopy (default dict (get $.Values .)) }}
{{- if and (not (hasPrefix "mix" .)) (hasKey $one "replicas") }}
{{- $replicas = max $replicas (int $one.replicas) }}
{{- $one = omit $one "replicas" }}
{{- end }}
{{- $coordinator = mergeOverwrite $coordinator $one }}
{{- end }}
{{- if and $replicas (not (hasKey $coordinator "replicas")) }}{{ $_ := set $coordinator "replicas" $replicas }}{{ end }}
{{- $data := deepCopy (default dict .Values.dataNode) }}
{{- $index := deepCopy (default dict .Values.indexNode) }}
{{- $indexes := include "milvus.indexes" . }}
{{- if and (not $indexes) (hasKey $data "replicas") (hasKey $index "replicas") (ge (int $data.replicas) 0) }}
{{- $_ := set $data "replicas" (max (int $data.replicas) (int $index.replicas)) }}
{{- end }}
{{- $query := deepCopy (default dict .Values.queryNode) }}
{{- if and .Values.autoscaling (not $query.hpa) (not $query.autoscaling) }}{{ $_ := set $query "autoscaling" .Values.autoscaling }}{{ end }}
{{- $all = dict "proxy" (default dict .Values.proxy) "mixCoord" $coordinator "queryNode" $query "dataNode" (ternary $data (merge (deepCopy $data) $index) (not (empty $indexes)))
  "streamingNode" (merge (deepCopy (default dict .Values.streamingNode)) (omit (default dict .Values.streaming) "enabled" "woodpecker")) }}
{{- if $indexes }}{{ $_ := set $all "indexNode" $index }}{{ end }}
{{- else }}
{{- $all = dict "standalone" (omit (default dict .Values.standalone) "messageQueue" "persistence") }}
{{- end }}
{{- toYaml $all }}
{{- end }}
